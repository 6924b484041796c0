"""Server-sent events: the frames that a browser's EventSource reads.

    retry: 1000                     once, before anything else

    id: k3Jx-7                      data: no name, so that ``onmessage`` gets it
    data: "text"                    always JSON, on one line

    id: k3Jx-9
    count: 2                        two text deltas joined; an unknown field, which browsers pass over
    data: "two of them"

    id: k3Jx-10
    event: end                      the other types by name; after this one, close the EventSource
    data: {"reason":"complete"}

    : heartbeat                     a comment
"""

from __future__ import annotations

from kayrx.serve.client import Frames
from kayrx.serve.encoding import as_json
from kayrx.serve.events import Event
from kayrx.serve.response import Protocol

RETRY = b"retry: 1000\n\n"


def frame(event: Event, id: str | None) -> bytes:
    """One event as a frame; only what can be replayed has an id.

    >>> frame(Event(7, "data", "a\\nb"), "k3Jx-7")
    b'id: k3Jx-7\\ndata: "a\\\\nb"\\n\\n'
    >>> frame(Event(9, "data", "two", 2), "k3Jx-9")
    b'id: k3Jx-9\\ncount: 2\\ndata: "two"\\n\\n'
    >>> frame(Event(0, "heartbeat"), None)
    b': heartbeat\\n\\n'
    """
    if event.type == "heartbeat":
        return b": heartbeat\n\n"
    head = f"id: {id}\n" if id is not None else ""
    if event.count > 1:
        head += f"count: {event.count}\n"
    if event.type != "data":
        head += f"event: {event.type}\n"
    return f"{head}data: {as_json(event.data)}\n\n".encode("ascii")


def sse() -> Protocol:
    """The protocol, with a store of frames of its own."""
    return Protocol("text/event-stream", Frames(frame), RETRY)


__all__ = ["frame", "sse"]

"""NDJSON: the same events, one JSON object a line, for programs that read lines.

    {"id":"k3Jx-7","type":"data","data":"text"}
    {"id":"k3Jx-9","type":"data","data":"two of them","count":2}
    {"id":"k3Jx-10","type":"end","data":{"reason":"complete"}}
    {"type":"heartbeat"}
"""

from __future__ import annotations

from typing import Any

from kayrx.serve.client import Frames
from kayrx.serve.encoding import as_json
from kayrx.serve.events import Event
from kayrx.serve.response import Protocol


def line(event: Event, id: str | None) -> bytes:
    """One event as a line.

    >>> line(Event(7, "data", "a\\nb"), "k3Jx-7")
    b'{"id":"k3Jx-7","type":"data","data":"a\\\\nb"}\\n'
    """
    fields: dict[str, Any] = {"type": event.type} if id is None else {"id": id, "type": event.type}
    if event.type != "heartbeat":
        fields["data"] = event.data
    if event.count > 1:
        fields["count"] = event.count
    return as_json(fields).encode("ascii") + b"\n"


def ndjson() -> Protocol:
    """The protocol, with a store of lines of its own."""
    return Protocol("application/x-ndjson", Frames(line))


__all__ = ["line", "ndjson"]

"""Protocols over SSE whose text has a beginning and an end: each client is told of them as its own stream needs it.

A client that resumes in the middle of a text gets a new beginning: every answer is whole in itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from kayrx.serve.client import Frames, Subscription
from kayrx.serve.encoding import as_json
from kayrx.serve.events import Event

COMMENT = b": kayrx\n\n"    # sent before anything, so that the headers go out


class Parts(Frames):
    """Encodes events for each client by what it has been told; a protocol gives the words.

    Memory: one text's id for each client.
    """

    inside: tuple[str, ...] = ()    # types, by their beginnings, that may stand within a text

    def __init__(self) -> None:
        super().__init__(lambda event, id: b"")
        self.open: WeakKeyDictionary[Subscription, str] = WeakKeyDictionary()    # "": told of the run, in no text

    # -- the words of a protocol -----------------------------------------------------------------

    def begin(self, client: Subscription) -> list[Any]:
        """What is said before everything else."""
        raise NotImplementedError

    def text(self, verb: str, id: str, delta: str = "") -> Any:
        """A text's ``start``, ``delta`` or ``end``."""
        raise NotImplementedError

    def own(self, item: Mapping[str, Any]) -> bool:
        """True for an item that is the protocol's own already."""
        raise NotImplementedError

    def other(self, name: str, data: Any) -> Any:
        """An item that is no text, or what has happened."""
        raise NotImplementedError

    def final(self, client: Subscription, event: Event) -> list[Any]:
        """What is said of a terminal."""
        raise NotImplementedError

    # -- encoding --------------------------------------------------------------------------------

    def of(self, client: Subscription, events: Sequence[Event]) -> bytes:
        before = self.open.get(client)
        try:
            return b"".join([self.one(client, event) for event in events])
        except Exception:    # nothing of this will be sent
            if before is None:
                self.open.pop(client, None)
            else:
                self.open[client] = before
            raise

    def one(self, client: Subscription, event: Event) -> bytes:
        if event.type == "heartbeat":
            return b": heartbeat\n\n"
        words = list(self.words(client, event))
        frames = [f"data: {word if isinstance(word, str) else as_json(word)}\n\n" for word in words]
        if frames and event.seq:
            frames[-1] = f"id: {client.cursor(event)}\n{frames[-1]}"    # the event has come when its last word has
        return "".join(frames).encode("ascii")

    def words(self, client: Subscription, event: Event) -> Iterator[Any]:
        data = event.data
        if client not in self.open:
            self.open[client] = ""
            yield from self.begin(client)
        if event.type == "data" and isinstance(data, str):
            if not self.open[client]:
                self.open[client] = f"{client.session.tag}-{event.seq}"
                yield self.text("start", self.open[client])
            if data:    # AG-UI had no empty ones before 1.0
                yield self.text("delta", self.open[client], data)
            return
        own = event.type == "data" and isinstance(data, Mapping) and self.own(data)
        word = data if own else self.other("item" if event.type == "data" else event.type, data)
        if self.open[client] and not (event.type == "data" and word["type"].startswith(self.inside)):
            yield self.text("end", self.open[client])
            self.open[client] = ""
        if event.terminal:
            yield from self.final(client, event)
        else:
            yield word


def message(data: Any) -> tuple[str, str]:
    """Type and message of a failure, as the hub describes it."""
    if isinstance(data, Mapping):
        return str(data.get("type", "error")), str(data.get("message", ""))
    return "error", str(data)


__all__ = ["COMMENT", "Parts", "message"]

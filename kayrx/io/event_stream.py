"""Server-sent events as bytes: a decoder that reads what a browser reads, whatever the chunks are."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kayrx.errors import RunError

LONGEST = 1 << 20    # characters of one event


@dataclass(frozen=True, slots=True)
class ServerSent:
    """One server-sent event: ``type`` is ``message`` unless it was named, ``id`` the last one that was given.

    ``count`` > 1 says that the sender has joined so many events, as kayrx does for slow readers.
    """

    type: str
    data: str
    id: str = ""
    count: int = 1

    def json(self) -> Any:
        """The data, read as JSON."""
        return json.loads(self.data)


class Decoder:
    """Bytes in, events out, by the algorithm of the WHATWG's HTML standard, section 9.2.

    ``last_id`` and ``retry`` (milliseconds) are what the stream has said so far; None: nothing.
    Memory: one event of at most ``limit`` characters.
    Raises: RunError for a longer one.

    >>> decoder = Decoder()
    >>> [*decoder.feed(b"id: 7\\nda"), *decoder.feed(b"ta: a\\r\\ndata: b\\r"), *decoder.feed(b"\\n\\r\\n")]
    [ServerSent(type='message', data='a\\nb', id='7', count=1)]
    """

    def __init__(self, last_id: str | None = None, limit: int = LONGEST) -> None:
        self.last_id, self.limit = last_id, limit
        self.retry: int | None = None
        self._named = last_id           # the id that the next event will have
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self._begun = self._cr = False
        self._line: list[str] = []      # the parts of a line that has no end yet
        self._held = 0
        self._clear()

    def _clear(self) -> None:
        self._type, self._data, self._count, self._size = "", list[str](), 1, 0

    def feed(self, chunk: bytes) -> Iterator[ServerSent]:
        """The events that end in this chunk."""
        text = self._text.decode(chunk)
        if not text:
            return
        if not self._begun:
            self._begun, text = True, text.removeprefix("\ufeff")
        if self._cr and text.startswith("\n"):    # the second half of a line end
            text = text[1:]
        self._cr = text.endswith("\r")
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        for rest in lines[:-1]:
            line, self._line, self._held = "".join([*self._line, rest]), [], 0
            event = self._take(line)
            if event is not None:
                yield event
        if lines[-1]:
            self._line.append(lines[-1])
            self._held += len(lines[-1])
        if self._held + self._size > self.limit:
            raise RunError(f"a server-sent event is longer than {self.limit} characters; raise limit=")

    def _take(self, line: str) -> ServerSent | None:
        if not line:
            self.last_id = self._named
            data, kind, count = self._data, self._type, self._count
            self._clear()
            return ServerSent(kind or "message", "\n".join(data), self.last_id or "", count) if data else None
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
            self._size += len(value) + 1
            if self._size > self.limit:
                raise RunError(f"a server-sent event is longer than {self.limit} characters; raise limit=")
        elif name == "event":
            self._type = value
        elif name == "id" and "\0" not in value:
            self._named = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry = int(value[:9])
        elif name == "count" and value.isascii() and value.isdigit():
            self._count = max(1, int(value[:9]))
        return None


__all__ = ["Decoder", "ServerSent"]

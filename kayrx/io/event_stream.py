"""Server-sent events as bytes: a decoder that reads what a browser reads, whatever the chunks are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kayrx.errors import RunError

LONGEST = 1 << 20    # bytes of one event
SHORT = 4096         # bytes that are rather copied than looked at
BOM = b"\xef\xbb\xbf"


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
    Memory: twice one event of at most ``limit`` bytes, its name and id with it.
    Raises: RunError for a longer one.

    >>> decoder = Decoder()
    >>> [*decoder.feed(b"id: 7\\nda"), *decoder.feed(b"ta: a\\r\\ndata: b\\r"), *decoder.feed(b"\\n\\r\\n")]
    [ServerSent(type='message', data='a\\nb', id='7', count=1)]
    """

    def __init__(self, last_id: str | None = None, limit: int = LONGEST) -> None:
        self.last_id, self.limit = last_id, limit
        self.retry: int | None = None
        self._named = last_id              # the id that the next event will have
        self._first: bytes | None = b""    # what may be the mark before all else; None: it is over
        self._cr = False
        # Bytes until they are whole: in text one rare character makes each of the others take four.
        self._line = bytearray()           # a line that has no end yet
        self._data = bytearray()           # the event's lines of data, each with an end
        self._type, self._count = "", 1

    @property
    def held(self) -> int:
        """What it has of an event that is not whole."""
        return len(self._line) + len(self._data) + len(self._type) + len(self._named or "")

    def feed(self, chunk: bytes) -> Iterator[ServerSent]:
        """The events that end in this chunk."""
        if self._first is not None:
            self._first += chunk
            if len(self._first) < len(BOM) and BOM.startswith(self._first):
                return
            chunk, self._first = self._first.removeprefix(BOM), None
        if not chunk:
            return
        if self._cr:    # this may be the second half of a line end
            chunk = chunk.removeprefix(b"\n")
        self._cr = chunk.endswith(b"\r")
        lines = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for rest in lines[:-1]:
            line: bytes | bytearray = rest
            if self._line:
                self._line += rest
                line, self._line = self._line, bytearray()
            event = self._take(line)
            if event is not None:
                yield event
        self._line += lines[-1]
        self._check()

    def _check(self) -> None:
        if self.held > self.limit:
            raise RunError(f"a server-sent event is longer than {self.limit} bytes; raise limit=")

    def _take(self, line: bytes | bytearray) -> ServerSent | None:
        if not line:
            self.last_id = self._named
            data, kind, count = self._data, self._type, self._count
            self._data, self._type, self._count = bytearray(), "", 1
            if not data:
                return None
            return ServerSent(kind or "message", text(data, 0, -1), self.last_id or "", count)
        end = line.find(b":")
        name, start = (line, len(line)) if end < 0 else (line[:end], end + (2 if line[end + 1:end + 2] == b" " else 1))
        if name == b"data":
            if len(line) > SHORT:
                with memoryview(line) as view:
                    self._data += view[start:]
            else:
                self._data += line[start:]
            self._data += b"\n"
            if len(self._data) > self.limit:
                self._check()
        elif name == b"id":
            if line.find(b"\0", start) < 0:
                self._named = text(line, start)
        elif name == b"event":
            self._type = text(line, start)
        elif name == b"retry" and line[start:].isdigit():
            self.retry = int(line[start:start + 9])
        elif name == b"count" and line[start:].isdigit():
            self._count = max(1, int(line[start:start + 9]))
        return None


def text(data: bytes | bytearray, start: int, end: int | None = None) -> str:
    """A part of the bytes as text, without a copy of them between if they are many."""
    if len(data) <= SHORT:
        return data[start:end].decode("utf-8", "replace")
    with memoryview(data) as view:
        return str(view[start:end], "utf-8", "replace")


__all__ = ["Decoder", "ServerSent"]

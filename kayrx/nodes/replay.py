"""Replayable sources: those that can be read again from a cursor.

Lists, files and stores are; iterators and hot sources are not.  A cursor is a plain value (an offset,
a row id) that can be kept outside this process; None stands for the beginning, and as the next
cursor for the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol, TypeVar, runtime_checkable
from zlib import crc32

from kayrx.errors import RunError

HEAD = 4096
Place = tuple[int, int, int]
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@runtime_checkable
class Replayable(Protocol[T_co]):
    """``read(cursor, n) -> (items, next cursor or None)``: at most ``n`` items from ``cursor`` on.

    Any object with this method is a source: ``kx.source(store)``.
    """

    def read(self, cursor: Any, n: int) -> tuple[Sequence[T_co], Any]: ...


@dataclass(frozen=True, slots=True)
class Items:
    """A sequence read by position.

    >>> Items("abc").read(None, 2), Items("abc").read(2, 2)
    (('ab', 2), ('c', None))
    """

    items: Sequence[Any]
    where: str = field(default="the source", compare=False, repr=False)

    def read(self, cursor: int | None, n: int) -> tuple[Sequence[Any], int | None]:
        start = cursor or 0
        if start > len(self.items):
            raise shorter(self.where, f"it has {len(self.items)} items", f"behind the first {start}")
        following = start + n
        return self.items[start:following], following if following < len(self.items) else None


@dataclass(frozen=True, slots=True)
class FileLines:
    """The lines of a UTF-8 file, read by byte offset.

    A cursor is the offset, and the length and check sum of a head of the file that stands before it, or is its first
    line: so it is good while the file only grows, and no other file is taken for it.
    """

    path: str
    where: str = field(default="the source", compare=False, repr=False)

    def start(self) -> Place:
        """The cursor of the first line, once the file is there."""
        with open(self.path, "rb") as file:
            first = file.readline(HEAD)
            return 0, len(first), crc32(first)

    def read(self, cursor: Place | None, n: int) -> tuple[Sequence[str], Place | None]:
        found: list[str] = []
        with open(self.path, "rb") as file:
            if cursor is not None:
                self.seek(file, *cursor)
            for _ in range(n):
                line = file.readline()
                if not line:
                    return found, None
                found.append(line.decode("utf-8").rstrip("\r\n"))
            if not file.peek(1):
                return found, None
            offset = file.tell()
            if cursor is not None and cursor[1] >= min(offset, HEAD):
                return found, (offset, *cursor[1:])
            file.seek(0)
            head = file.read(min(offset, HEAD))
            return found, (offset, len(head), crc32(head))

    def seek(self, file: BinaryIO, offset: int, length: int, head: int) -> None:
        size = file.seek(0, 2)
        if size < offset:
            raise shorter(self.where, f"{self.path!r} has {size} bytes", f"{offset} bytes into it")
        file.seek(0)
        if crc32(file.read(length)) != head:
            raise RunError(f"{self.where}: {self.path!r} is another file than the one that was read, for it begins "
                           "with other bytes; give that one, or begin anew with resume=False")
        file.seek(offset)


def remaining(where: str, items: Sequence[Any], following: Any, done: int) -> int:
    """How many of ``done`` items from a cursor on are not among ``items``, which were read there again.

    Raises RunError if they are there no more.
    """
    if len(items) < done and following is None:
        raise shorter(where, f"it has {len(items)} items there", f"behind {done}")
    return max(0, done - len(items))


def shorter(where: str, now: str, place: str) -> RunError:
    return RunError(f"{where} is shorter than it was: {now}, and it is to be read from {place}; give what was there, "
                    "or begin anew with resume=False")


__all__ = ["Replayable"]

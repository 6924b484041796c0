"""Replayable sources: those that can be read again from a cursor.

Lists, files and stores are; iterators and hot sources are not.  A cursor is a plain value (an offset,
a row id) that can be kept outside this process; None stands for the beginning, and as the next
cursor for the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

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

    def read(self, cursor: int | None, n: int) -> tuple[Sequence[Any], int | None]:
        start = cursor or 0
        following = start + n
        return self.items[start:following], following if following < len(self.items) else None


@dataclass(frozen=True, slots=True)
class FileLines:
    """The lines of a UTF-8 file, read by byte offset.

    A line's offset stays valid while the file only grows.
    """

    path: str

    def read(self, cursor: int | None, n: int) -> tuple[Sequence[str], int | None]:
        found: list[str] = []
        with open(self.path, "rb") as file:
            file.seek(cursor or 0)
            for _ in range(n):
                line = file.readline()
                if not line:
                    return found, None
                found.append(line.decode("utf-8").rstrip("\r\n"))
            return found, file.tell() if file.peek(1) else None


__all__ = ["Replayable"]

"""Files that take back: where each of the last items began, and how a `Retract` cuts the file off there."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections import deque
from typing import Any

from kayrx.errors import RunError
from kayrx.nodes import retract
from kayrx.nodes.retract import Retract
from kayrx.nodes.values import is_async


def unable(target: Any) -> str | None:
    """Why what was written to ``target`` cannot be taken back, as far as one can see without touching it."""
    if not all(hasattr(target, name) for name in ("tell", "seek", "truncate")):
        return f"a {type(target).__name__} is no file that can be cut off"
    if is_async(target.truncate):
        return f"a {type(target).__name__} is written to asynchronously, and is not cut off so"
    if target in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        return "what was shown is seen"
    if getattr(target, "closed", False):
        return None  # the first write says so
    if not target.seekable() or getattr(type(target), "truncate", None) is io.IOBase.truncate:
        return f"a {type(target).__name__} like this cannot go back"
    try:
        mode = os.fstat(target.fileno()).st_mode
    except (AttributeError, OSError, ValueError):
        return None  # a file in memory
    return None if stat.S_ISREG(mode) else "it is a device, a pipe or a socket"


class Written:
    """A file that is written to where a `Retract` may come by.  Memory: the places of the last 65,536 items.

    A place is asked of the file itself, which knows its encoding and ends of lines; a text file is flushed by that.
    """

    __slots__ = ("file", "places", "where")

    def __init__(self, file: Any, where: str) -> None:
        self.file, self.where = file, where
        self.places: deque[int] = deque(maxlen=retract.REACH)
        if (why := unable(file)) is not None:
            raise RunError(f"{where}: {why}, and a Retract may take back its last items; write kx.settled() before it")
        here = file.tell()
        file.seek(0, io.SEEK_END)
        if file.tell() != here:
            file.seek(here)
            raise RunError(f"{where}: the file is written to before its end, and a Retract would cut off what stands "
                           "behind; open it with mode 'w' or 'a', or write kx.settled() before it")

    def begin(self) -> None:
        """An item is about to be written; what its attempts leave is all its own."""
        self.places.append(self.file.tell())

    def take_back(self, mark: Retract) -> None:
        if mark.count > len(self.places):
            raise out_of_reach(self.where, mark.count, len(self.places))
        place = 0
        for _ in range(mark.count):
            place = self.places.pop()
        if mark.count:
            self.file.seek(place)  # writes out what is in its buffers first
            self.file.truncate()


def out_of_reach(where: str, count: int, known: int) -> RunError:
    return RunError(f"{where}: {count} items are taken back, and the last {known} are known; write "
                    f"kx.settled({count}) before it")

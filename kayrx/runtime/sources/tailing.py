"""Following a file that grows: what has been appended since the last look, as whole lines."""

from __future__ import annotations

import os
from typing import BinaryIO

from kayrx.errors import RunError
from kayrx.nodes.files import Tail

BLOCK = 1 << 16


class Follower:
    """Reads on from where it was; used in one thread at a time."""

    def __init__(self, node: Tail) -> None:
        self.node = node
        self.file: BinaryIO | None = None
        self.held = b""
        self.first = True

    def look(self) -> list[str] | None:
        """Whole lines that have come, up to a block of them; None if nothing has."""
        if self.file is None and not self._opened():
            return None
        assert self.file is not None
        block = self.file.read(BLOCK)
        if not block:
            if self._replaced():
                self.close()
                return self.look()
            return None
        *lines, self.held = (self.held + block).split(b"\n")
        if len(self.held) > self.node.limit:
            raise RunError(f"{self.node.where}: a line is longer than {self.node.limit} bytes; raise limit=")
        return [line.removesuffix(b"\r").decode() for line in lines]

    def _opened(self) -> bool:
        first, self.first = self.first, False
        try:
            self.file = open(self.node.path, "rb")  # noqa: SIM115 - it stays open between two looks
        except FileNotFoundError:
            return False
        if first and not self.node.from_start:
            self.file.seek(0, os.SEEK_END)
        return True

    def _replaced(self) -> bool:
        assert self.file is not None
        mine = os.fstat(self.file.fileno())
        try:
            there = os.stat(self.node.path)
        except FileNotFoundError:
            return False  # between the two steps of a rotation, or gone: what was open is still read
        return (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino) or there.st_size < self.file.tell()

    def close(self) -> None:
        self.held = b""
        if self.file is not None:
            self.file.close()
            self.file = None

"""An open store of letters as JSON lines.

Writers take turns by a lock on the file.  What another has added is read before anything is written, and
what a dying one has left half-written is cut off: nobody was told that it was kept.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from kayrx.errors import GraphError
from kayrx.io import records
from kayrx.io.letters import damaged, known
from kayrx.nodes.letters import Letter

if TYPE_CHECKING:
    from kayrx.io.letters import JsonLetters

READ = 1 << 20


class Place(NamedTuple):
    """Where the newest line of a letter stands, and the digest of its item."""

    offset: int
    length: int
    same: str


class OpenJson:
    """The file, and where in it each letter is."""

    def __init__(self, spec: JsonLetters) -> None:
        try:
            import fcntl
        except ImportError:
            raise GraphError("json_letters(): file locks need a POSIX system; use kx.sqlite_letters(path)") from None
        self.fcntl = fcntl
        self.spec, self.lock = spec, threading.Lock()
        self.file = os.open(spec.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self.places: dict[str, Place] = {}
        self.done: set[str] = set()
        self.whole = 0  # bytes of whole lines that have been read
        try:
            with self.alone():
                if spec.fsync and not self.whole:  # whoever has written a line has done so before
                    self.sync_folder()
        except BaseException:
            os.close(self.file)
            raise

    def sync_folder(self) -> None:
        """A new file is on disk once the folder that names it is."""
        folder = os.open(os.path.dirname(os.path.abspath(self.spec.path)), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other thread or process writes, and all that they have written is known."""
        with self.lock:
            self.fcntl.flock(self.file, self.fcntl.LOCK_EX)
            try:
                self.catch_up()
                yield
            finally:
                self.fcntl.flock(self.file, self.fcntl.LOCK_UN)

    def catch_up(self) -> None:
        if os.fstat(self.file).st_size < self.whole:  # somebody has cut the file
            self.whole = 0
            self.places.clear()
            self.done.clear()
        left = b""
        while data := os.pread(self.file, READ, self.whole + len(left)):
            *lines, left = (left + data).split(b"\n")
            for line in lines:
                self.learn(line, self.whole)
                self.whole += len(line) + 1

    def learn(self, line: bytes, offset: int) -> None:
        try:
            told = records.head(line)
        except records.Damaged:
            if line:
                damaged(self.spec.path, f"the line at byte {offset}")
            return
        if records.is_letter(line):
            key, same = told
            self.places[key] = Place(offset, len(line), same)
            self.done.discard(key)
        else:
            self.done.update(told)

    def add(self, line: str) -> None:
        """Write one line after the last whole one and sync it; on failure nothing of it stays."""
        data = memoryview(line.encode() + b"\n")
        end = self.whole
        if os.fstat(self.file).st_size > end:
            os.ftruncate(self.file, end)
        try:
            at = end
            while at < end + len(data):
                at += os.pwrite(self.file, data[at - end:], at)
            if self.spec.fsync:
                os.fsync(self.file)
        except BaseException:
            os.ftruncate(self.file, end)
            raise
        self.learn(line.encode(), end)
        self.whole = at

    def append(self, letter: Letter) -> bool:
        new = records.written(letter, self.spec.codec)
        with self.alone():
            old = self.places.get(new.id)
            if old is not None:
                records.check_same(new, letter, old.same, lambda: self.read(old))
            self.add(new.line)
        return new.unread

    def read(self, place: Place) -> Letter:
        return records.letter_of(os.pread(self.file, place.length, place.offset).decode(), self.spec.codec)

    def items(self, done: bool | None = False) -> Iterator[Letter]:
        with self.alone():
            places = [place for key, place in self.places.items() if done is None or (key in self.done) == done]
        for place in places:
            try:
                letter = self.read(place)
            except ValueError:    # Damaged, or no UTF-8
                damaged(self.spec.path, f"the line at byte {place.offset}")
                continue
            yield letter

    def mark_done(self, *ids: str) -> None:
        with self.alone():
            known(ids, self.places)
            if ids:
                self.add(records.done(ids))

    def close(self) -> None:
        with self.lock:
            os.close(self.file)

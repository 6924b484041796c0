"""Cutting bytes and text anew, piece by piece, independently of how they come.

A cutter is the state of one `chunk` node: ``push(x)`` gives the pieces that ``x`` has completed,
``finish()`` the rest; ``left`` is true while something of what has come has not gone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from kayrx.nodes.chunks import Chunk
from kayrx.plan.graphemes import CLUSTER, classes

CLOSE = r"\"'”’»\)\]\}」』）】"
ENDS = re.compile(  # possessive, so that no text takes more than one pass
    rf"(?P<stop>[.!?…‽]++)[{CLOSE}]*+(?P<space>\s*+)"
    rf"|(?P<wide>(?:[。！？｡]++[{CLOSE}\s]*+)++)"
    r"|\n\s*+")
WORD = re.compile(r"(?:[^\W\d_]+\.)*[^\W\d_]+$")
BLANK = re.compile(r"\n[^\S\n]*\n")
TITLES = frozenset(("mr", "mrs", "ms", "dr", "prof", "st", "vs", "cf", "e.g", "i.e"))
COUNTED = frozenset(("no", "fig", "vol", "p", "pp", "ch", "eq"))


class Bytes:
    """Pieces of exactly ``count`` bytes."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.held = bytearray()
        self.left = False

    def push(self, x: Any) -> Iterator[bytes]:
        if not isinstance(x, (bytes, bytearray, memoryview)):
            raise TypeError(f"chunk(bytes=) takes bytes, got {type(x).__name__}; encode a str first")
        held, at = self.held, 0
        held += x
        while at + self.count <= len(held):
            piece = bytes(held[at:at + self.count])
            at += self.count
            self.left = at < len(held)
            yield piece
        del held[:at]
        self.left = bool(held)

    def finish(self) -> Iterator[bytes]:
        if self.held:
            yield bytes(self.held)

    def saved(self) -> Any:
        return bytes(self.held), self.left

    def restore(self, saved: Any) -> None:
        held, self.left = saved
        self.held = bytearray(held)


class Text:
    """Pieces of ``count`` units; a unit ends where `end` says, or after ``limit`` characters."""

    by = ""

    def __init__(self, count: int, limit: int) -> None:
        self.count, self.limit = count, limit
        self.held = ""
        self.at = 0    # where in ``held`` the unit begins whose end is not known
        self.done = 0  # whole units before it
        self.left = False

    def end(self, text: str, at: int) -> int | None:
        """Where the unit that begins ``at`` ends; None if what has come does not tell."""
        raise NotImplementedError

    def push(self, x: Any) -> Iterator[str]:
        if not isinstance(x, str):
            raise TypeError(f"chunk(by={self.by!r}) takes str, got {type(x).__name__}")
        text, start, at, done = self.held + x, 0, self.at, self.done
        while (end := self.end(text, at)) is not None:
            at, done = end, done + 1
            if done == self.count:
                piece, start, done = text[start:at], at, 0
                self.left = True  # an end is known by the character after it
                yield piece
        self.held, self.at, self.done = text[start:], at - start, done
        self.left = bool(self.held)

    def finish(self) -> Iterator[str]:
        if self.held:
            yield self.held

    def saved(self) -> Any:
        return self.held, self.at, self.done, self.left

    def restore(self, saved: Any) -> None:
        self.held, self.at, self.done, self.left = saved


class Sentences(Text):
    by = "sentence"

    def end(self, text: str, at: int) -> int | None:
        last = at + self.limit + 1  # a later end would be too late
        found = ENDS.search(text, at, last)
        while found is not None and found.end() < min(last, len(text)):
            if ends(text, at, found):
                return found.end()
            found = ENDS.search(text, found.end(), last)
        return at + self.limit if len(text) > at + self.limit else None


def ends(text: str, at: int, found: re.Match[str]) -> bool:
    """True if a sentence that began ``at`` ends with what was found; a character follows."""
    stop, space = found["stop"], found["space"]
    if stop is None:
        return found["wide"] is not None or BLANK.search(found[0]) is not None
    if not space:
        return False
    if stop.strip(".…") or BLANK.search(space):
        return True
    following = text[found.end()]
    if following.islower():
        return False
    before = text[at:found.start()].strip()
    if stop != ".":
        return True
    if before.isdigit():
        return False  # the number of a list
    word = WORD.search(before[-8:])  # longer words are in no list
    if word is None:
        return True
    last = word[0]
    return not (len(last) == 1 and last.isupper() or last.lower() in TITLES
                or last.lower() in COUNTED and following.isdigit())


class Graphemes(Text):
    by = "grapheme"

    def __init__(self, count: int, limit: int) -> None:
        super().__init__(count, limit)
        self.seen, self.kinds = "", ""

    def end(self, text: str, at: int) -> int | None:
        if text is not self.seen:
            self.seen, self.kinds = text, classes(text)
        found = CLUSTER.match(self.kinds, at, at + self.limit + 1)
        if found is None:
            return None
        if found.end() > at + self.limit:
            return at + self.limit
        return found.end() if found.end() < len(text) else None


def cutter(node: Chunk) -> Bytes | Text:
    """The state of a `chunk` node at the beginning of a run."""
    if node.by == "bytes":
        return Bytes(node.count)
    return (Sentences if node.by == "sentence" else Graphemes)(node.count, node.limit)

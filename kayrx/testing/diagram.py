"""Marble diagrams: from text to signals and back.  The syntax is that of RxJS.

    -        one frame goes by
    a        an item (a letter or digit); it takes a frame
    (ab|)    all at the frame of the parenthesis; takes as many frames as it has characters
    |  #     the end, an error
    ^  !     subscribed, let go
    10ms     time goes by: ms, s or m, with a space (or the edge) on both sides
    space    nothing, for aligning
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from kayrx.errors import GraphError

Kind = Literal["next", "error", "end"]
PROGRESS = re.compile(r"(?:(?<=\s)|^)(\d+(?:\.\d+)?)(ms|s|m)(?=\s|$)")
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0}
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class MarbleError(Exception):
    """What ``#`` raises where the test names no other error."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal of a diagram, at a moment counted in frames."""

    at: float
    kind: Kind
    value: Any = None

    def same(self, other: Signal, *, any_error: bool = False) -> bool:
        """Equal in moment, kind and value; errors by type and arguments."""
        if (self.at, self.kind) != (other.at, other.kind):
            return False
        if self.kind == "error":
            return any_error or self.value is other.value or (
                type(self.value) is type(other.value) and self.value.args == other.value.args)
        return self.value is other.value or bool(self.value == other.value)


@dataclass(frozen=True, slots=True)
class Diagram:
    """A parsed string: its signals, its length in frames, where ``^`` and ``!`` stand."""

    text: str
    signals: tuple[Signal, ...]
    length: float
    subscribed: float | None
    released: float | None

    @property
    def ended(self) -> bool:
        return any(s.kind != "next" for s in self.signals)


@dataclass(frozen=True, slots=True)
class Legend:
    """What the characters of a test stand for."""

    frame: float = 1.0
    values: Mapping[str, Any] | None = None
    errors: Mapping[str, Exception] | Exception | None = None

    def __post_init__(self) -> None:
        if not self.frame > 0:
            raise GraphError(f"marbles(frame={self.frame!r}): a frame lasts some seconds, more than 0")
        errors = self.errors
        named = errors.values() if isinstance(errors, Mapping) else [] if errors is None else [errors]
        for error in named:
            if not isinstance(error, Exception):
                raise GraphError(f"marbles(errors=...): an error is an exception, got {error!r}")

    def error(self, char: str) -> Exception | None:
        """The error that a character stands for, if it stands for one."""
        if isinstance(self.errors, Mapping):
            found = self.errors.get(char)
            return MarbleError(char) if found is None and char == "#" else found
        return (self.errors or MarbleError(char)) if char == "#" else None

    def signal(self, at: float, char: str) -> Signal | None:
        """The signal of a character; None if it is none."""
        error = self.error(char)
        if error is not None:
            return Signal(at, "error", error)
        if char == "|":
            return Signal(at, "end")
        if self.values is not None and char in self.values:
            return Signal(at, "next", self.values[char])
        return Signal(at, "next", char) if char.isalnum() else None

    def letter(self, value: Any, taken: dict[str, Any]) -> str:
        """The character for a value; one that has none gets a free letter, noted in ``taken``."""
        known = dict(self.values or {}) | taken
        for char, stands_for in known.items():
            if value is stands_for or (type(value) is type(stands_for) and value == stands_for):
                return char
        if isinstance(value, str) and len(value) == 1 and value.isalnum() and value not in known:
            return value
        char = next((c for c in LETTERS if c not in known), "?")
        taken[char] = value
        return char


def parse(text: object, legend: Legend) -> Diagram:
    """Read a diagram.

    Raises: GraphError, with the place, for what is no diagram.

    >>> [(s.at, s.kind, s.value) for s in parse("-a-(b|)", Legend()).signals]
    [(1.0, 'next', 'a'), (3.0, 'next', 'b'), (3.0, 'end', None)]
    >>> parse("a 5s |", Legend(frame=0.5)).signals[-1].at
    11.0
    """
    if not isinstance(text, str):
        raise GraphError(f"a marble diagram is a str, got {type(text).__name__}")
    signals: list[Signal] = []
    marks: dict[str, float] = {}
    now, group, index = 0.0, None, 0

    def wrong(why: str) -> GraphError:
        return GraphError(f"cannot read this marble diagram: {why}\n  {text}\n  {' ' * index}^ here")

    while index < len(text):
        char = text[index]
        progress = PROGRESS.match(text, index) if group is None else None
        at = round(now if group is None else group, 3)
        if progress is not None:
            now += float(progress[1]) * SECONDS[progress[2]] / legend.frame
            index = progress.end()
            continue
        if char == "(":
            if group is not None:
                raise wrong("a group stands inside a group")
            group = now
        elif char == ")":
            if group is None:
                raise wrong("no group is open")
            group = None
        elif char in "^!":
            if char in marks:
                raise wrong(f"a second {char!r}")
            marks[char] = at
        elif char == "-" and group is not None:
            raise wrong("no time goes by in a group")
        elif char not in "- ":
            signal = legend.signal(at, char)
            if signal is None:
                raise wrong(f"{char!r} is no item; items are letters and digits, or keys of values=")
            if signals and signals[-1].kind != "next":
                raise wrong("a signal after the end")
            signals.append(signal)
        now += char != " "
        index += 1
    if group is not None:
        raise wrong("the group is not closed")
    return Diagram(text, tuple(signals), round(now, 3), marks.get("^"), marks.get("!"))


def draw(moments: Iterable[tuple[float, str]], frame: float) -> str:
    """The diagram of characters at moments, in frames; as a list where the syntax has no picture for it.

    (A group takes the frames of all its characters, so nothing can be drawn right behind a large one.)

    >>> draw([(1, "a"), (3, "b"), (3, "|")], 1), draw([(0, "a"), (0, "b"), (1, "|")], 1), draw([(90.5, "a")], 1)
    ('-a-(b|)', 'at 0: a b, at 1: |', '90.5s a')
    """
    groups = [(at, [char for _, char in group]) for at, group in groupby(moments, key=lambda m: m[0])]
    out, now = "", 0.0
    for at, chars in groups:
        gap = round(at - now, 3)
        if gap < 0:
            return ", ".join(f"at {at:g}: {' '.join(chars)}" for at, chars in groups)
        if gap != int(gap) or gap > 60:
            out += f" {round(gap * frame, 9):.15g}s "
        else:
            out += "-" * int(gap)
        out += chars[0] if len(chars) == 1 else f"({''.join(chars)})"
        now = at + (1 if len(chars) == 1 else len(chars) + 2)
    return out.strip()


def drawn(signals: Iterable[Signal], legend: Legend) -> tuple[str, dict[str, Any]]:
    """The picture of signals, and what its letters stand for where the legend does not say."""
    taken: dict[str, Any] = {}
    chars: dict[Kind, Callable[[Signal], str]] = {
        "next": lambda s: legend.letter(s.value, taken), "end": lambda s: "|", "error": lambda s: error_char(s, legend)}
    return draw([(s.at, chars[s.kind](s)) for s in signals], legend.frame), taken


def error_char(signal: Signal, legend: Legend) -> str:
    if isinstance(legend.errors, Mapping):
        for char, error in legend.errors.items():
            if signal.same(Signal(signal.at, "error", error)):
                return char
    return "#"


__all__ = ["Diagram", "Legend", "MarbleError", "Signal", "draw", "drawn", "parse"]

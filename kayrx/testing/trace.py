"""What a marble test has seen, to be compared with strings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kayrx.testing.diagram import Diagram, Legend, Signal, draw, drawn, parse

Held = list[tuple[float, float | None]]


class Trace:
    """The signals that came out of a graph; equal to a diagram that says the same.

    ``signals``     each with its moment in frames, kind and value; ``moments`` as plain pairs
    ``error``       the exception that ended it, or None
    ``subscribed``  when each source was subscribed to and let go; see `Subscribed`

    Printed, it is the diagram of what came out, with a legend for values that no letter stands for.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, graph: str, sources: Sequence[Diagram], legend: Legend) -> None:
        self.graph, self.sources, self.legend = graph, sources, legend
        self.signals: list[Signal] = []
        self.held: list[Held] = []

    @property
    def error(self) -> Exception | None:
        return next((s.value for s in self.signals if s.kind == "error"), None)

    @property
    def moments(self) -> list[tuple[float, Any]]:
        """The signals as (frame, item), (frame, exception) or (frame, "|")."""
        return [(s.at, "|" if s.kind == "end" else s.value) for s in self.signals]

    @property
    def subscribed(self) -> Subscribed:
        return Subscribed(self)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Trace):
            wanted: Sequence[Signal] = other.signals
        elif isinstance(other, str):
            wanted = parse(other, self.legend).signals
        else:
            return NotImplemented
        loose = self.legend.errors is None
        return len(wanted) == len(self.signals) and all(
            a.same(b, any_error=loose) for a, b in zip(self.signals, wanted, strict=True))

    def __repr__(self) -> str:
        picture, letters = drawn(self.signals, self.legend)
        legend = [f"{char} = {value!r}" for char, value in letters.items()]
        legend += [f"# = {self.error!r}"] if self.error is not None else []
        return (picture or "(nothing)") + (f"   where {', '.join(legend)}" if legend else "")

    def told(self, expected: str, what: str = "came out") -> list[str]:
        """The strings below each other, for a failing test."""
        rows = [(f"source {n}" if len(self.sources) > 1 else "source", d.text)
                for n, d in enumerate(self.sources, 1)]
        rows += [("graph", self.graph), ("expected", expected), (what, repr(self if what == "came out" else
                                                                            self.subscribed))]
        rows += [("held", repr(self.subscribed))] if what == "came out" and self.sources else []
        return [f"{name:<9} {text}" for name, text in rows]


class Subscribed:
    """When the sources were held: equal to ``"^----!"`` for one source, to a list of them for several.

    Of a source that was subscribed to several times each time is a string: ``["^-!", "---^-!"]``.  A source
    that was never subscribed to is ``""``; one that the test has cut off has no ``!``.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, trace: Trace) -> None:
        self.trace = trace

    def __getitem__(self, source: int) -> Subscribed:
        only = Trace(self.trace.graph, self.trace.sources[source:][:1], self.trace.legend)
        only.held = [self.trace.held[source]]
        return Subscribed(only)

    def __len__(self) -> int:
        return len(self.trace.held)

    def __eq__(self, other: object) -> bool:
        held = self.trace.held
        if isinstance(other, Subscribed):
            return held == other.trace.held
        if not isinstance(other, (str, list, tuple)):
            return NotImplemented
        texts = [other] if len(held) == 1 else other
        return len(texts) == len(held) and all(
            spans == self.read(text) for spans, text in zip(held, texts, strict=True))

    def read(self, texts: object) -> Held | None:
        """The spans that a string, or a list of them, tells."""
        spans: Held = []
        for text in texts if isinstance(texts, (list, tuple)) else (texts,):
            diagram = parse(text, self.trace.legend)
            if diagram.signals:
                return None
            if diagram.subscribed is not None:
                spans.append((diagram.subscribed, diagram.released))
            elif diagram.released is not None:
                return None
        return spans

    def __repr__(self) -> str:
        told = [[span(one, self.trace.legend.frame) for one in held] for held in self.trace.held]
        each = [texts[0] if len(texts) == 1 else texts or "" for texts in told]
        return str(each[0] if len(each) == 1 else each)


def span(held: tuple[float, float | None], frame: float) -> str:
    begun, ended = held
    return draw([(begun, "^")] + ([(ended, "!")] if ended is not None else []), frame)


__all__ = ["Subscribed", "Trace"]

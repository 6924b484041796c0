"""Measuring: contenders in turn, in one process, by CPU time, each with a right answer first."""

from __future__ import annotations

import asyncio
import gc
import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.goals import Goal, Row, rows_of

CHECKED = 20_000  # items over which an answer is looked at, and a contender warmed up
Meter = Callable[[Callable[[], Any]], float]


class WrongAnswer(AssertionError):
    """A contender whose answer is not the hand loop's: its speed means nothing."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to do the work: ``run(items)`` gives the answer for that many items; async ways are awaited.

    ``share`` of the items are enough for a slow peer.  ``answer`` is the right answer if it differs
    from the one of the race.
    """

    name: str
    run: Callable[[int], Any]
    share: float = 1.0
    answer: Callable[[int], Any] | None = None

    def items(self, size: int) -> int:
        return max(1, int(size * self.share))


def processor_time(work: Callable[[], Any]) -> float:
    """Nanoseconds of CPU time, of all threads of this process."""
    begin = time.process_time_ns()
    work()
    return time.process_time_ns() - begin


@dataclass(frozen=True, slots=True)
class Settings:
    """How to measure: rounds of A B C A B C, and whether the small sizes will do."""

    rounds: int = 7
    quick: bool = False


@dataclass(frozen=True, slots=True)
class Race:
    """Contenders for the same answer: ``answer`` gives it, ``base`` is whom the others are compared with.

    ``size`` items a round (``quick`` of them in a quick run, which leaves the race out if that is 0);
    ``meter`` measures one piece of work, and its figure divided by the number of items is the cost.
    ``often`` pieces a round, in turn: many small ones stand a disturbed machine better than a large one.
    """

    name: str
    answer: Callable[[int], Any]
    contenders: Sequence[Contender]
    goals: Sequence[Goal]
    size: int
    quick: int
    base: str = "hand loop"
    unit: str = "ns/item"
    meter: Meter = processor_time
    often: int = 1

    def rows(self, settings: Settings) -> list[Row]:
        """Measure; a goal that is missed is measured for as many rounds again, and all rounds count."""
        size = self.quick if settings.quick else self.size
        costs: dict[str, list[float]] = {contender.name: [] for contender in self.contenders}
        with asyncio.Runner() as runner:
            for contender in self.contenders:
                self.check(contender, min(contender.items(size), CHECKED), runner)
            self.measure(size, settings.rounds, runner, costs)
            rows = rows_of(self.name, self.unit, costs, self.goals, self.base)
            if any(row.verdict == "missed" for row in rows):
                self.measure(size, settings.rounds, runner, costs)
                rows = rows_of(self.name, self.unit, costs, self.goals, self.base)
        return rows

    def check(self, contender: Contender, items: int, runner: asyncio.Runner) -> None:
        """Raise WrongAnswer unless the contender's answer is right; this also warms it up."""
        right = self.done(contender.answer or self.answer, items, runner)
        given = self.done(contender.run, items, runner)
        if given != right:
            raise WrongAnswer(f"{self.name}: {contender.name} gave {given!r}, and {right!r} is right")

    def done(self, run: Callable[[int], Any], items: int, runner: asyncio.Runner) -> Any:
        return runner.run(run(items)) if inspect.iscoroutinefunction(run) else run(items)

    def measure(self, size: int, rounds: int, runner: asyncio.Runner, costs: dict[str, list[float]]) -> None:
        for _ in range(rounds * self.often):
            for contender in self.contenders:
                items = contender.items(size)
                gc.collect()
                gc.disable()
                try:
                    spent = self.meter(lambda: self.done(contender.run, items, runner))  # noqa: B023
                finally:
                    gc.enable()
                costs[contender.name].append(spent / items)

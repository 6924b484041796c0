"""Goals as data: what a contender may cost, measured against another, and the table of what came out."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from kayrx.render import table

SLACK = 0.15
Kind = Literal["times", "faster", "above", "amount"]
Verdict = Literal["met", "within slack", "missed", "error", ""]
Costs = Mapping[str, Sequence[float]]
Version = tuple[int, ...]
HERE: Version = sys.version_info[:2]


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on what ``subject`` costs.

    ``times``   at most ``bound`` times the cost of ``against``
    ``faster``  at least ``bound`` times as fast as ``against``
    ``above``   at most ``bound`` more than the cost of ``against``
    ``amount``  at most ``bound``, against nothing
    ``later``   the bound on Python 3.13 and above, where it differs
    """

    subject: str
    against: str
    bound: float
    kind: Kind = "times"
    later: float | None = None

    def limit(self, version: Version = HERE) -> float:
        """The bound that holds on a version of Python."""
        return self.later if self.later is not None and version >= (3, 13) else self.bound

    def figure(self, costs: Costs) -> float:
        """The median over the rounds; each round compares two figures taken one after the other."""
        mine = costs[self.subject]
        if self.kind == "amount":
            return median(mine)
        pairs = list(zip(mine, costs[self.against], strict=True))
        if self.kind == "above":
            return median(own - other for own, other in pairs)
        ratio = median(own / other for own, other in pairs)
        return ratio if self.kind == "times" else 1 / ratio

    def verdict(self, figure: float, version: Version = HERE) -> Verdict:
        """Met, missed by at most `SLACK`, or missed."""
        limit = self.limit(version)
        over = limit / figure if self.kind == "faster" else figure / limit
        return "met" if over <= 1 else "within slack" if over <= 1 + SLACK else "missed"

    def wording(self, figure: float, unit: str, version: Version = HERE) -> tuple[str, str]:
        """The figure and the bound as a reader wants them: ``('reactivex ÷ 5.20', '÷ ≥ 5')``."""
        limit = f"{self.limit(version):g}"
        match self.kind:
            case "times":
                return f"{self.against} × {figure:.2f}", f"× ≤ {limit}"
            case "faster":
                return f"{self.against} ÷ {figure:.2f}", f"÷ ≥ {limit}"
            case "above":
                return f"{self.against} + {figure:.1f}", f"+ ≤ {limit} {unit}"
            case "amount":
                return f"{figure:.0f}", f"≤ {limit} {unit}"


def times(subject: str, against: str, bound: float) -> Goal:
    """``subject`` costs at most ``bound`` times what ``against`` costs."""
    return Goal(subject, against, bound)


def faster(subject: str, against: str, bound: float, *, later: float | None = None) -> Goal:
    """``subject`` is at least ``bound`` times as fast as ``against``."""
    return Goal(subject, against, bound, "faster", later)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what a contender cost, and what became of one goal."""

    workload: str
    contender: str
    cost: float | None
    unit: str
    ratio: str = ""
    goal: str = ""
    verdict: Verdict = ""


def rows_of(workload: str, unit: str, costs: Costs, goals: Sequence[Goal], base: str) -> list[Row]:
    """A row for each contender, and one more for each goal of it beyond the first."""
    rows: list[Row] = []
    for name, spent in costs.items():
        own = [goal for goal in goals if goal.subject == name]
        cost: float | None = median(spent)
        for goal in own:
            figure = goal.figure(costs)
            ratio, bound = goal.wording(figure, unit)
            rows.append(Row(workload, name, cost, unit, ratio, bound, goal.verdict(figure)))
            cost = None
        if not own:
            plain = times(name, base, 1)
            ratio = "" if name == base else plain.wording(plain.figure(costs), unit)[0]
            rows.append(Row(workload, name, cost, unit, ratio))
    return rows


def missed(rows: Sequence[Row]) -> bool:
    """True if some goal is missed by more than the slack, or something could not be measured."""
    return any(row.verdict in ("missed", "error") for row in rows)


def rendered(rows: Sequence[Row]) -> str:
    """The table, with the name of a workload and of a contender only where it changes."""
    shown: list[tuple[str, ...]] = []
    before = ("", "")
    for row in rows:
        here = (row.workload, row.contender)
        names = tuple("" if before[:i + 1] == here[:i + 1] else here[i] for i in range(2))
        cost = "" if row.cost is None else f"{row.cost:,.1f}" if row.cost < 1000 else f"{row.cost:,.0f}"
        shown.append((*names, cost, "" if row.cost is None else row.unit, row.ratio, row.goal, row.verdict))
        before = here
    return table(["workload", "contender", "cost", "unit", "ratio", "goal", "verdict"], shown, align="llr")

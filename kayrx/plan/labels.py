"""Labels: what a node is called in its plan, so that a name finds one node."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from kayrx.nodes.groups import Grouping
from kayrx.plan.plan import Segment, Step


def uniquely(labels: Sequence[str]) -> list[str]:
    """The labels made distinct in order: a, a-2, a-3.

    >>> uniquely(["map", "filter", "map"])
    ['map', 'filter', 'map-2']
    """
    seen: dict[str, int] = {}
    out = []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        out.append(label if seen[label] == 1 else f"{label}-{seen[label]}")
    return out


def nested(step: Step) -> Iterator[Step]:
    """The steps inside a guarded unit and inside the graphs that its guards fall back to, outer before inner.

    The body of a group is none of them: its labels are its own.
    """
    for inner in (*(() if isinstance(step.node, Grouping) else step.inner), *step.beside):
        yield inner
        yield from nested(inner)


def names_of(steps: Sequence[Step]) -> dict[int, str]:
    """A distinct label for each step and each one inside it, by identity; what is inside changes no name outside."""
    found = [*steps, *(inner for step in steps for inner in nested(step))]
    return {id(s): name for s, name in zip(found, uniquely([s.label for s in found]), strict=True)}


def named(step: Step, names: dict[int, str]) -> Step:
    """A step, and those inside it, under their names."""
    if isinstance(step.node, Grouping):
        return replace(step, label=names[id(step)])
    return replace(step, label=names[id(step)], inner=tuple(named(s, names) for s in step.inner),
                   beside=tuple(named(s, names) for s in step.beside))


def relabelled(segments: list[Segment], laid: list[Step]) -> tuple[Segment, ...]:
    """The segments with every label distinct in the plan, so that a name finds one node; no cut changes a name."""
    names = names_of(laid)
    return tuple(replace(seg, head=named(seg.head, names) if seg.head else None,
                         runs=tuple(tuple(named(step, names) for step in run) for run in seg.runs))
                 for seg in segments)

"""Labels: what a node is called in its plan, so that a name finds one node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

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


def relabelled(segments: list[Segment], laid: list[Step]) -> tuple[Segment, ...]:
    """The segments with every label distinct in the plan, so that a name finds one node; no cut changes a name."""
    names = {id(s): name for s, name in zip(laid, uniquely([s.label for s in laid]), strict=True)}

    def named(step: Step) -> Step:
        return replace(step, label=names[id(step)])

    return tuple(replace(seg, head=named(seg.head) if seg.head else None,
                         runs=tuple(tuple(map(named, run)) for run in seg.runs)) for seg in segments)

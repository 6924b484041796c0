"""fuse: the steps of a segment fall into runs; each run becomes one generated function.

Python allows twenty nested blocks in a function, and every expansion opens one: a run holds at most
eight.  With ``fuse=False`` each step is a run of its own, to compare with.
"""

from __future__ import annotations

from collections.abc import Sequence

from kayrx.plan.plan import Options, Step

NESTING = 8


def fuse(steps: Sequence[Step], options: Options) -> tuple[tuple[Step, ...], ...]:
    """Runs of steps, in order, for a linear plan: each but the last is pulled by the next."""
    runs: list[list[Step]] = [[]]
    deep = 0
    for step in steps:
        opens = step.node.expands or bool(step.inner)
        if runs[-1] and (not options.fuse or (opens and deep == NESTING)):
            runs.append([])
            deep = 0
        deep += opens
        runs[-1].append(step)
    return tuple(tuple(run) for run in runs)

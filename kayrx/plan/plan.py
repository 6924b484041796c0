"""The plan as a value: segments, the gates between them, and why each is there."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from kayrx.errors import GraphError
from kayrx.graph.node import Node
from kayrx.nodes.flow import Policy
from kayrx.nodes.guards import Guard
from kayrx.nodes.values import flag, whole

Fed = Literal["open", "iter", "aiter", "push", "gate", "stage"]

LOOK = 32  # items between two looks at the clock (ruling 26)
SLICE = 0.005  # seconds after which a task lets others run


@dataclass(frozen=True, slots=True)
class Options:
    """How to compile; none of these changes an answer (law 5).

    chunk     items between two looks at the event loop (at most 256)
    fuse      False: every node its own generator or segment, to compare with
    inline    inline the source of lambdas that are provably equal to it; off under a tracer
    events    tell the fate of every item, by id
    """

    chunk: int = 256
    fuse: bool = True
    inline: bool = False
    events: bool = False

    def __post_init__(self) -> None:
        whole("options", "chunk", self.chunk, 1)
        for name in ("fuse", "inline", "events"):
            flag("options", name, getattr(self, name))


def taken_apart(options: dict[str, Any], *more: str) -> tuple[Options, dict[str, Any]]:
    """The compile options among keyword arguments, and the rest; GraphError for unknown ones."""
    known = {f.name for f in fields(Options)}
    if unknown := options.keys() - known - {*more}:
        raise GraphError(f"unknown option {min(unknown)!r}; there are {', '.join(sorted(known | {*more}))}")
    return Options(**{k: v for k, v in options.items() if k in known}), {
        k: v for k, v in options.items() if k not in known}


class Saving(Options):
    """The options of a plan with a checkpoint: what its code holds can be fetched and put back."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One unit of work: a node, its label in this plan, the guards around it, the steps inside it.

    ``beside``  graphs that its guards fall back to, each a step of its own
    ``marked``  True if a `Retract` may come by, which is no item
    """

    node: Node
    label: str
    guards: tuple[Guard, ...] = ()
    inner: tuple[Step, ...] = ()
    beside: tuple[Step, ...] = ()
    marked: bool = False

    @property
    def where(self) -> str:
        at = f" at {self.node.written}" if self.node.written else ""
        return f"{self.label!r} ({self.node.word}){at}"


@dataclass(frozen=True, slots=True)
class Gate:
    """A bounded hand-off into segment ``target``; ``pulled`` means that no queue exists at all.

    ``origin`` is None for the queue in front of a hot source; ``target`` is None for a gate that
    the reader of ``stream()`` empties.  ``port`` names a lane of a fan-in or a way of a fan-out;
    ``back`` marks the feedback of a loop.
    """

    index: int
    origin: int | None
    target: int | None
    size: int
    overflow: Policy
    reason: str
    pulled: bool = False
    port: str = ""
    back: bool = False


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of steps in one task.

    ``fed``    how items come: an iterator, an async iterator, pushes, one gate, or several lanes
    ``head``   the source, or the node that joins lanes or keeps time; None after a plain gate
    ``runs``   the fused runs of steps, in order
    ``fan``    the fan-out at its end, if any; ``outs`` are the gates it fills
    """

    index: int
    fed: Fed
    head: Step | None
    lanes: tuple[int, ...]
    runs: tuple[tuple[Step, ...], ...]
    fan: Step | None
    outs: tuple[int, ...]
    waits: bool

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(step for run in self.runs for step in run)

    @property
    def sink(self) -> Step | None:
        last = self.steps[-1] if self.runs and self.runs[-1] else None
        return last if last is not None and last.node.role == "sink" else None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a graph compiles to.

    ``loop``   True if some node waits, so an event loop is needed
    ``sinks``  the segments that end in a sink, in written order
    """

    segments: tuple[Segment, ...]
    gates: tuple[Gate, ...]
    loop: bool
    options: Options
    sinks: tuple[int, ...] = ()

    @property
    def linear(self) -> bool:
        """One segment and no node that waits: the plan is one plain function."""
        return not self.loop and len(self.segments) == 1

    @property
    def open_input(self) -> bool:
        return self.segments[0].fed == "open"

    @property
    def open_outputs(self) -> tuple[Segment, ...]:
        return tuple(s for s in self.segments if s.sink is None and not s.outs)

    def steps(self) -> tuple[Step, ...]:
        return tuple(step for s in self.segments for step in ((s.head,) if s.head else ()) + s.steps)


def every(steps: tuple[Step, ...]) -> list[Any]:
    """All steps, those inside units and beside them included, outer before inner."""
    return [found for step in steps for found in (step, *every(step.inner), *every(step.beside))]

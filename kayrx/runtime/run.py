"""`Run`: the handle of a started graph."""

from __future__ import annotations

from typing import Any, NamedTuple

import anyio

from kayrx.errors import AbandonedCall, RunError
from kayrx.plan.plan import Segment
from kayrx.runtime.context import Context
from kayrx.runtime.engine import Network
from kayrx.runtime.program import Program
from kayrx.runtime.world import World


class GateMetrics(NamedTuple):
    """One gate: items that wait, its bound, items that have passed, items its policy has dropped."""

    name: str
    depth: int
    size: int
    passed: int
    dropped: int


class SegmentMetrics(NamedTuple):
    """One segment: its steps, and how many items it has taken from its source or gate."""

    name: str
    taken: int


class Metrics(NamedTuple):
    """What `Run.metrics` gives: counts at this moment."""

    state: str
    seconds: float
    segments: tuple[SegmentMetrics, ...]
    gates: tuple[GateMetrics, ...]


def taken(run: Context, segment: Segment) -> int:
    """How many items a segment has taken: out of its lanes, or from its source."""
    if segment.fed in ("gate", "stage"):
        return sum(run.gates[i].taken for i in segment.lanes)
    position = run.positions.get(segment.index)
    return position() + 1 if position is not None else 0


class Run:
    """A run of a graph, to use with ``async with``; made by ``graph.start()``.

    Nothing happens before ``async with``.  Leaving it normally waits for the end and raises the run's
    error; an exception in the body cancels the run, waits, and wins (ruling 14).
    """

    def __init__(self, program: Program, world: World, host: Any = None, *, resume: bool = False) -> None:
        self._program, self._world, self._host, self._resume = program, world, host, resume
        self._network: Network | None = None
        self._group: Any = None
        self._ended: anyio.Event | None = None
        self._result: Any = None
        self._error: BaseException | None = None
        self._began = self._over = 0.0
        self._detached = False

    async def __aenter__(self) -> Run:
        if self._network is not None:
            raise RunError("this run has been started; graph.start() gives a fresh one")
        self._network = Network(self._program, self._world, resume=self._resume)
        self._ended, self._scope = anyio.Event(), anyio.CancelScope()
        self._began = self._network.run.backend.now()
        if self._host is None:
            self._group = anyio.create_task_group()
            await self._group.__aenter__()
            self._group.start_soon(self._work)
        else:
            self._host.start_soon(self._work)
        return self

    async def _work(self) -> None:
        network, ended = self._network, self._ended
        assert network is not None and ended is not None
        try:
            with self._scope:
                try:
                    if not network.run.cancelled:
                        self._result = await network.execute()
                        network.run.cancelled = False  # a cancel that came now has come too late
                except BaseException as error:
                    if network.run.failure is not error:
                        network.run.cancelled = True
                        raise
                    self._error = error
        finally:
            self._over = network.run.backend.now()
            ended.set()

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if self._detached:
            return False
        if error is not None:
            await self._cancelled()
        if self._group is not None:
            await self._group.__aexit__(None, None, None)
        elif self._ended is not None:
            await self._ended.wait()
        if error is None and self._error is not None:
            raise self._error
        return False

    async def _cancelled(self) -> None:
        assert self._network is not None and self._ended is not None
        if self.done:
            return
        self._network.run.cancelled = True
        self._scope.cancel()
        with anyio.CancelScope(shield=True):
            await self._ended.wait()

    @property
    def _running(self) -> Network:
        if self._network is None:
            raise RunError("the run has not begun: write `async with graph.start() as run`")
        return self._network

    # -- steering --------------------------------------------------------------------------------

    async def stop(self, deadline: float | None = None) -> None:
        """Complete the sources and wait for the end: buffers flush, items under way finish.

        After ``deadline`` seconds what is still under way is cancelled.  Idempotent.
        """
        run = self._running.run
        run.stopping = True
        for control in run.controls:
            control(True)
        for source in run.stoppables:
            source.stop()
        self._let_go()
        assert self._ended is not None
        with anyio.move_on_after(float("inf") if deadline is None else deadline):
            await self._ended.wait()
            return
        for workers in run.workers:  # threads cannot be cancelled; those still at work are given up
            left = workers.abandon() if hasattr(workers, "abandon") else 0
            if left:
                run.tell("abandoned", error=AbandonedCall(f"{left} calls on threads outlived stop({deadline:g})"))
        await self._cancelled()

    async def cancel(self) -> None:
        """Cancel the run and wait until nothing of it is left.  Idempotent; raises nothing."""
        assert self._running
        await self._cancelled()

    def pause(self) -> None:
        """Read no further item from any source until `resume`; items under way go on."""
        run = self._running.run
        run.paused = True
        for control in run.controls:
            control(True)

    def resume(self) -> None:
        """Go on reading."""
        run = self._running.run
        run.paused = False
        for control in run.controls:
            control(run.stopping)
        self._let_go()

    def _let_go(self) -> None:
        run = self._running.run
        holders, run.holders = run.holders, []
        for park in holders:
            run.backend.wake(park)

    def detach(self) -> None:
        """Let the run go on after ``async with``; it ends with its host.

        Raises RunError unless it was started with ``start(host=task_group)``.
        """
        if self._host is None:
            raise RunError("detach() needs a task group that outlives this block: graph.start(host=task_group)")
        self._detached = True

    # -- seeing ----------------------------------------------------------------------------------

    @property
    def done(self) -> bool:
        """True once the run has ended, in whatever way."""
        return self._ended is not None and self._ended.is_set()

    @property
    def result(self) -> Any:
        """The sink's result; RunError while the run goes on, and the run's error if it failed."""
        if not self.done:
            raise RunError("the run has not ended; leave `async with`, or await run.wait()")
        if self._error is not None:
            raise self._error
        return self._result

    async def wait(self) -> Any:
        """Wait for the end and give the sink's result; raises the run's error."""
        assert self._running and self._ended is not None
        await self._ended.wait()
        return self.result

    @property
    def state(self) -> str:
        """created, running, paused, stopping, done, failed or cancelled."""
        if self._network is None:
            return "created"
        run = self._network.run
        if self.done:
            return "failed" if self._error else "cancelled" if run.cancelled else "done"
        return "stopping" if run.stopping else "paused" if run.paused else "running"

    def metrics(self) -> Metrics:
        """Counts at this moment: items taken by each segment; depth, bound and drops of each gate."""
        network = self._running
        run, plan = network.run, network.plan
        end = self._over if self.done else run.backend.now()
        segments = tuple(
            SegmentMetrics(" > ".join(s.label for s in ((seg.head,) if seg.head else ()) + seg.steps), taken(run, seg))
            for seg in plan.segments)
        gates = tuple(GateMetrics(g.name, 0 if g.cancelled else len(g.items), g.size, g.taken, g.dropped)
                      for g, p in zip(run.gates, plan.gates, strict=True) if not p.pulled)
        return Metrics(self.state, end - self._began, segments, gates)

    def events(self) -> list[dict[str, Any]]:
        """What has happened, in order: a dict each, with ``event`` and its facts.

        Retries, fallbacks, letters, drops, checkpoints and failures are always told; the fate of every item, by
        id, in a run made by ``start(events=True)``.  Memory: grows with the run.
        """
        return list(self._running.run.ledger.log)

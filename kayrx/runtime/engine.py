"""The engine: from a program to a finished run, on a loop or without one.

    linear plan           one call of the pump (`kayrx.runtime.linear`)
    synchronous network   the segments' coroutines, stepped by our own scheduler
    plan that waits       a task a segment, in one task group

A user's exception never passes through the task group: a segment records it and cancels, and the
run raises the very object outside (ruling 22).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from kayrx.plan.cut import takes_nothing
from kayrx.plan.emitting import emit_waits
from kayrx.plan.plan import Segment, Step
from kayrx.plan.traits import is_pool
from kayrx.runtime import failing
from kayrx.runtime.backend import SyncBackend, current
from kayrx.runtime.context import Context
from kayrx.runtime.crews.crew import Crew
from kayrx.runtime.crews.saving import SavingCrew
from kayrx.runtime.gates.circles import circles
from kayrx.runtime.gates.fans import fan_of
from kayrx.runtime.gates.kinds import gate_of
from kayrx.runtime.guards.chain import Guarded, now
from kayrx.runtime.linear import close, pulled
from kayrx.runtime.program import Program
from kayrx.runtime.sources.opening import Stoppable, aiterate, anew, nothing
from kayrx.runtime.sources.seeking import seek
from kayrx.runtime.sources.sharing import Sharing, asked
from kayrx.runtime.stages import stage
from kayrx.runtime.stages.aligned import stage_with_barriers
from kayrx.runtime.world import World

if TYPE_CHECKING:
    from kayrx.runtime.saving import Saver

Main = Callable[[], tuple[Awaitable[Any], Any]]


# -- networks ------------------------------------------------------------------------------------


class Network:
    """The gates and tasks of one run."""

    def __init__(self, program: Program, world: World, *, sync: bool = False, resume: bool = False) -> None:
        self.program, self.plan = program, program.plan
        backend = SyncBackend(world) if sync else current(world)
        self.run = run = Context(program, world, backend, resume=resume)
        self.sync = sync
        run.gates = [gate_of(run, g, self.name_of(g.index)) for g in self.plan.gates]
        for lane in {lane for lanes in program.turns.values() for lane in lanes}:
            run.gates[lane].turn = []
        run.circles = circles(run)
        self.fans = [fan_of(run, s) for s in self.plan.segments]
        self.mains = [self.main_of(s) for s in self.plan.segments]
        run.tasks = len(self.mains)

    def name_of(self, index: int) -> str:
        gate = self.plan.gates[index]
        target = self.plan.segments[gate.target] if gate.target is not None else None
        steps = () if target is None else ((target.head,) if target.head else ()) + target.steps
        into = repr(steps[0].label) if steps else "the reader"
        return f"into {into}" + (f" port {gate.port}" if gate.port else "")

    # -- segments as tasks -----------------------------------------------------------------------

    def main_of(self, segment: Segment) -> Main:
        step = next((s for s in segment.steps if is_pool(s)), None)
        if step is not None or segment.fed == "stage":
            return lambda: (self.headed(segment), None)
        return partial(self.inline, segment)

    def inline(self, segment: Segment) -> tuple[Awaitable[Any], Any]:
        """A segment whose generated code reads its source or its gate itself: what to await, what to close then.

        It is awaited by the segment's task itself, for each frame between a task and a call costs every wait its price.
        """
        run, code = self.run, self.program.mains[segment.index][-1]
        fan = self.fans[segment.index]
        if segment.fed == "gate":
            lane = run.gates[segment.lanes[0]]
            run.positions[segment.index] = lambda: lane.position
            main, _ = code.function(run, None, fan, lane)
            return main(), None
        source, closing = self.source_of(segment)
        main, control = code.function(run, source, fan, None)
        run.controls.append(control)
        if run.paused or run.stopping:
            control(True)
        return main(), closing

    async def headed(self, segment: Segment) -> Any:
        """A segment with a hand-written head: a stage over its lanes, or a crew over its source."""
        run, codes = self.run, self.program.mains[segment.index]
        waits = emit_waits(segment, self.plan.gates, self.plan.options)
        emit, finish, slices, position = codes[-1].function(run, self.fans[segment.index])
        lanes = [run.gates[i] for i in segment.lanes]
        if segment.fed == "stage":
            assert segment.head is not None
            run.positions[segment.index] = position
            work = stage if run.saver is None else stage_with_barriers
            await work(segment.head.node, run, segment.head, lanes, emit if waits else waiting(emit))
        else:
            step = next(s for s in segment.steps if is_pool(s))
            source, closing = (None, None) if segment.fed == "gate" else self.source_of(segment)
            if len(codes) > 1:
                source = codes[0].function(source, run)
            crew = (Crew if run.saver is None else SavingCrew)(
                run, segment, step, source, lanes[0] if lanes else None, emit, slices,
                        self.failed, waits=waits)
            run.crews[segment.index] = crew
            if source is not None:  # what is in a gate is under way, and goes on while the run pauses or stops
                run.controls.append(crew.control)
            try:
                await crew.work()
            finally:
                await self.closed(closing)
            if crew.failed:
                return None
        return await finish() if waits else finish()

    def source_of(self, segment: Segment) -> tuple[Any, Any]:
        """What the segment reads, and what is to be closed after it."""
        run, head = self.run, segment.head
        assert head is not None
        if takes_nothing(segment) or run.stopping:
            return (self.program.through(iter(()), run), ()) if segment.fed == "iter" else (nothing(), None)
        if segment.fed == "iter":
            items, source, run.positions[segment.index] = pulled(head, run)
            return self.program.through(source, run, turns=True), items
        opening = aiterate if run.saver is None else seek
        items = Guarded(head, run).each(anew(opening, head.node, run), None) if head.guards \
            else opening(head.node, run)
        stoppable = Stoppable(items, run, head.node)
        run.stoppables.append(stoppable)
        run.positions[segment.index] = lambda: stoppable.given
        if run.saver is not None:
            run.positions[segment.index] = run.saver.position(head)
        return stoppable, stoppable

    async def closed(self, items: Any) -> None:
        if hasattr(items, "aclose"):
            await self.run.closed(items)
        else:
            close(items)

    async def task(self, segment: Segment, main: Main) -> None:
        """One segment from first to last; whatever ends it, its gates are let go."""
        run, ended = self.run, False
        try:
            if run.paused:
                await run.hold(lambda _: None)
            if run.saver is not None and run.saver.is_over(segment):
                run.results[segment.index] = run.saver.result(segment)
            elif segment.index not in self.program.turns or await self.its_turn(segment):
                work, closing = main()
                try:
                    if self.unscoped(segment):
                        run.results[segment.index] = await work
                    else:  # cut short in the middle of any wait once every reader below has left
                        with anyio.CancelScope() as self.fans[segment.index].scope:
                            run.results[segment.index] = await work
                finally:
                    if closing is not None:
                        await self.closed(closing)
            if run.saver is not None and run.failure is None:
                await run.saver.ended(segment, run.results.get(segment.index))
            ended = run.failure is None
        except BaseException as error:
            if run.ours(error) if not self.sync else isinstance(error, GeneratorExit) and run.failure is not None:
                raise  # cancelled, or without a loop closed
            self.failed(error, segment)
            ended = run.failure is None
        finally:
            for gate in self.fans[segment.index].gates:
                if ended or gate.outside:  # to the next segment a failure must not look like the end
                    gate.close()
            for index in segment.lanes:
                run.gates[index].cancel()
            run.tasks -= 1
            if ended:
                run.look_for_deadlock()

    async def its_turn(self, segment: Segment) -> bool:
        """Wait until the segment may begin; False if nobody wants it any more."""
        turn = self.program.turns[segment.index]
        if not await asked(self.run, [self.run.gates[lane] for lane in turn]):
            return False
        for lane in segment.lanes:
            if isinstance(fan := self.run.gates[lane].owner, Sharing):
                fan.attach(self.run.gates[lane])
        return True

    def unscoped(self, segment: Segment) -> bool:
        """True if nobody can leave below, or the segment waits for nothing but room there."""
        return self.sync or not self.fans[segment.index].gates or (segment.fed == "iter" and not segment.waits)

    def failed(self, error: BaseException, segment: Segment, step: Step | None = None,
               item: int | None = None) -> None:
        failing.failed(self.run, error, segment, step, item)

    # -- the run ---------------------------------------------------------------------------------

    async def execute(self) -> Any:
        """Run on the current loop to the end and give the result."""
        run = self.run
        try:
            async with run.opened.on_loop():
                if run.saver is not None:
                    await self.resumed(run.saver)
                if len(self.mains) == 1:
                    await self.task(self.plan.segments[0], self.mains[0])
                else:
                    await self.tasks()
        finally:
            if run.closers:
                await self.close()
            run.ledger.close(run.failure)
        return self.result()

    async def resumed(self, saver: Saver) -> None:
        try:
            await saver.open()
        except Exception as error:
            self.run.fail(error)
            raise

    async def close(self) -> None:
        """Close what a run that ended early has left open between two items."""
        with anyio.CancelScope(shield=True):
            for closer in self.run.closers:
                await closer()

    async def tasks(self) -> None:
        """All segments to their end, each in a task of its own."""
        async with anyio.create_task_group() as group:
            self.run.scope = group.cancel_scope
            for segment, main in zip(self.plan.segments, self.mains, strict=True):
                group.start_soon(self.task, segment, main)

    def execute_sync(self) -> Any:
        """Run a network in which nothing waits for the outside, without a loop."""
        run = self.run
        assert isinstance(run.backend, SyncBackend)
        tasks = [self.task(s, m) for s, m in zip(self.plan.segments, self.mains, strict=True)]
        with run.opened.now():
            if run.saver is not None:
                now(run.saver.open())
            run.backend.drive(tasks, lambda: run.failure is not None)
        return self.result()

    def result(self) -> Any:
        """The sinks' results in written order; raises the first failure."""
        if self.run.failure is not None:
            raise self.run.failure
        given = [self.run.results.get(index) for index in self.plan.sinks]
        return None if not given else given[0] if len(given) == 1 else tuple(given)


def waiting(emit: Callable[[Any], bool]) -> Callable[[Any], Coroutine[Any, Any, bool]]:
    async def emit_later(item: Any) -> bool:
        return emit(item)
    return emit_later

"""What one run knows: its world, its tasks and parks, its failure.  Generated code holds it as ``run``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from kayrx.door import floor
from kayrx.errors import GateDeadlock, RunError
from kayrx.plan.plan import LOOK, SLICE, Segment, Step
from kayrx.runtime.backend import Backend
from kayrx.runtime.blame import annotate
from kayrx.runtime.gates.gate import Gate
from kayrx.runtime.guards.chain import Guarded
from kayrx.runtime.ledger import Ledger
from kayrx.runtime.resources import Opened
from kayrx.runtime.world import World

if TYPE_CHECKING:
    from kayrx.runtime.crews.crew import Crew
    from kayrx.runtime.gates.circles import Circle
    from kayrx.runtime.groups import Groups
    from kayrx.runtime.letters.replay import Session
    from kayrx.runtime.program import Program
    from kayrx.runtime.rx.hosted import Hosted
    from kayrx.runtime.saving import Saver
    from kayrx.runtime.sources.opening import Stoppable


class Context:
    """The state of one run.

    ``parks`` are waits of the run's own tasks on its own gates: when every task is in one of them,
    none can ever wake another, and the run fails with GateDeadlock.
    """

    def __init__(self, program: Program, world: World, backend: Backend, *, resume: bool = False) -> None:
        self.program, self.world, self.backend = program, world, backend
        self.looks_per_rest = max(1, program.options.chunk // min(LOOK, program.options.chunk))
        self.tasks = 0
        self.parks: set[Any] = set()
        self.idle: set[Any] = set()  # those of its timers that hold nothing
        self.circles: list[Circle] = []
        self.gates: list[Gate] = []
        self.controls: list[Callable[[bool], None]] = []
        self.stoppables: list[Stoppable] = []
        self.shuts: dict[int, Callable[[], None]] = {}  # how a hot source is told to push no more
        self.closers: list[Callable[[], Awaitable[None]]] = []  # what is left open between two items
        self.holders: list[Any] = []
        self.workers: list[Any] = []
        self.crews: dict[int, Crew] = {}
        self.paused = self.stopping = self.cancelled = False
        self.failure: BaseException | None = None
        self.noted: list[BaseException] = []
        self.scope: anyio.CancelScope | None = None
        self.results: dict[int, Any] = {}
        self.positions: dict[int, Callable[[], int]] = {}
        self.cursors: dict[Any, Any] = {}
        self.sent: dict[int, list[Any]] = {}  # what a source that continues has given
        self.ledger = ledger = Ledger(program.options.events, program.told)
        self.enter, self.made, self.child, self.fate = ledger.enter, ledger.made, ledger.child, ledger.fate
        for source, seconds in program.budgets:
            ledger.budgets[source] = partial(self.after, seconds)
        self.item: Any = None
        self.opened = Opened(program.resources)
        self.replay: Session | None = None
        self.saver: Saver | None = floor("saving").Saver(self, resume) if program.saves else None
        self.letters = 0
        self.limits: dict[int, Any] = {}  # what a guard without a name knows between calls
        self.guards: dict[int, Guarded] = {}
        self._id = ""
        # Without a loop nobody waits for the clock, and an order that it decides could not be had again.
        self.pace = backend.now if backend.name != "sync" else float
        self._looks = 0
        self._since = self.pace()

    @property
    def id(self) -> str:
        """The run's name, drawn from the world when somebody first asks."""
        self._id = self._id or self.world.run_id()
        return self._id

    def after(self, seconds: float) -> float:
        """The time of the run in ``seconds``."""
        return self.backend.now() + seconds

    # -- taking turns ----------------------------------------------------------------------------

    def due(self) -> bool:
        """True if this task has had its 256 items or 5 ms; asked every 32 items."""
        self._looks += 1
        return self._looks >= self.looks_per_rest or self.late()

    def late(self) -> bool:
        """True if it has had its 5 ms."""
        return self.pace() - self._since > SLICE

    async def rest(self) -> None:
        """Let the other tasks of the loop run."""
        await self.backend.checkpoint()
        self._looks = 0
        self._since = self.pace()

    async def hold(self, control: Callable[[bool], None]) -> bool:
        """Wait while paused; True if the run is to stop."""
        while self.paused and not self.stopping:
            park = self.backend.park()
            self.holders.append(park)
            await park
        control(self.stopping)
        return self.stopping

    async def closed(self, items: Any) -> None:
        """Close an async iterator that its reader leaves; a cancellation has to wait for it."""
        if self.backend.name == "sync":  # no loop runs, and nobody can cancel
            await items.aclose()
            return
        with anyio.CancelScope(shield=True):
            await items.aclose()

    async def parked(self, park: Any, *, outside: bool = False) -> None:
        """Wait on one of the run's gates; ``outside`` if somebody else can end the wait."""
        if outside:
            await park
            return
        self.parks.add(park)
        try:
            self.look_for_deadlock()
            await park
        finally:
            self.parks.discard(park)

    def wake(self, park: Any) -> None:
        self.parks.discard(park)
        self.backend.wake(park)

    def look_for_rest(self) -> None:
        """Tell the loops that one of their tasks waits for an item: it may have been the last that moved."""
        for circle in self.circles:
            circle.look()

    def look_for_deadlock(self, passes: int = 8) -> None:
        """Fail the run if every task is parked, and still is after some passes of the loop.

        A task that has just been cancelled is parked until it runs again: only what lasts is a deadlock.
        """
        self.look_for_rest()
        if not self.tasks or len(self.parks) < self.tasks or self.failure is not None:
            return
        if passes and self.backend.name != "sync":
            self.backend.from_thread(partial(self.look_for_deadlock, passes - 1))
            return
        full = [g for g in self.gates if g.writer is not None]
        if not full:
            self.fail(RunError("every task of the run waits for another one; this is a fault of kayrx"))
            return
        names, size = ", ".join(f"{g.name} (size {g.size})" for g in full), 2 * max(g.size for g in full)
        round_ = next((c.step.where for c in self.circles if any(c.holds(gate) for gate in full)), None)
        where = f" in the body of {round_}" if round_ else ""
        self.fail(GateDeadlock(f"every task waits on the run's own gates; full: {names}. The branches of a join{where} "
                               "have drifted apart by more than the gate holds: give the fan-out or the join a larger "
                               f"size, e.g. size={size}, or keep the branches in step"))

    # -- failing ---------------------------------------------------------------------------------

    def fail(self, error: BaseException, segment: Segment | None = None, step: Step | None = None,
             item: int | None = None) -> None:
        """Record a failure, note where it came from, and cancel the rest of the run."""
        annotate(error, self, segment, step, item)
        self.tell("error", error=error)
        if self.failure is None:
            self.failure = error
        self.cancel_tasks()

    def cancel_tasks(self) -> None:
        self.cancelled = True
        if self.scope is not None:
            self.scope.cancel()

    def ours(self, error: BaseException) -> bool:
        """True if ``error`` is a cancellation that was asked for, by us or from outside (ruling 22)."""
        if not isinstance(error, anyio.get_cancelled_exc_class()):
            return False
        if self.backend.name != "asyncio" or self.cancelled:
            return True
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0

    def next_letter(self) -> int:
        self.letters += 1
        return self.letters

    def tell(self, what: str, **facts: Any) -> None:
        """Report to `Run.events`."""
        self.ledger.tell(what, **facts)

    # -- what generated code asks for -------------------------------------------------------------

    def guard(self, step: Step) -> Guarded:
        """The guards of a step; a step inside a unit is begun anew with each item, and its guards are not."""
        found = self.guards.get(id(step))
        if found is None:
            found = self.guards[id(step)] = Guarded(step, self)
        return found

    def unit(self, step: Step, turns: bool = False) -> Callable[[Any], Any]:
        inner = self.program.unit(step, turns)
        return lambda item: inner(item, self)

    def groups(self, step: Step, waits: bool) -> Groups:
        return floor("groups").Groups(step, self, waits)  # type: ignore[no-any-return]

    def host(self, step: Step) -> Hosted:
        return floor("hosted").Hosted(step, self)  # type: ignore[no-any-return]

    def pushed(self, node: Any) -> AsyncGenerator[Any, None]:
        return floor("hosted").pushed(node, self)  # type: ignore[no-any-return]

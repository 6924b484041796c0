"""A run that is pushed: a plan in which no node waits, over an Observable (ruling 19)."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from reactivex.disposable import Disposable, SingleAssignmentDisposable
from reactivex.scheduler import CurrentThreadScheduler

from kayrx.errors import GateOverflow
from kayrx.plan.cut import HOT
from kayrx.runtime.context import Context
from kayrx.runtime.program import Program


class Pausable:
    """Holds what is pushed while the run is paused: at most 1,024 items, as a hot source's gate does.

    The Observable may push on any thread, and `resume` comes on another: one of them sends at a time.
    """

    def __init__(self, run: Context, send: Callable[..., None], where: str) -> None:
        self.run, self.send, self.where = run, send, where
        self.held: deque[tuple[Any, ...]] = deque()
        self.sending = False
        self.lock = threading.Lock()

    def __call__(self, *item: Any) -> None:
        """Send the item, or the end if there is none, now or on `resume`."""
        with self.lock:
            if self.run.paused or self.sending:
                if len(self.held) >= HOT:
                    raise GateOverflow(f"{self.where} has pushed {HOT} items while the run was paused; say what may be "
                                       "lost with kx.backpressure(size, overflow=...) behind it, or pause for less")
                self.held.append(item)
                return
        self.send(*item)

    def resume(self) -> None:
        """Send what was held, in its order."""
        self.sending = True
        while True:
            with self.lock:
                if not self.held:
                    self.sending = False
                    return
                item = self.held.popleft()
            self.send(*item)


def begin(program: Program, run: Context, given: list[Any], over: Callable[[], None], *,
          pausable: bool = False) -> Disposable:
    """Subscribe; ``over()`` is called once, when a result has been given or the run has failed.

    Nothing that a step raises reaches the Observable, whose other observers must not notice.
    """
    segment = program.plan.segments[0]
    assert segment.head is not None
    what: Any = segment.head.node.what  # type: ignore[attr-defined]
    subscription = SingleAssignmentDisposable()
    ended = False

    def end() -> None:
        nonlocal ended
        ended = True
        subscription.dispose()
        over()

    def complete(result: Any) -> None:
        given.append(result)
        end()

    def failed(error: BaseException) -> None:
        if not ended:
            run.fail(error, segment)
            end()

    push, finish = program.push.function(run, lambda x: None, complete)

    def send(*item: Any) -> None:
        push(*item) if item else finish()

    def guarded(step: Callable[..., Any]) -> Callable[..., None]:
        def called(*item: Any) -> None:
            try:
                step(*item)
            except BaseException as error:
                failed(error)
        return called

    steered = Pausable(run, send, segment.head.where) if pausable else None

    def subscribe(*_: object) -> None:
        subscription.disposable = what.subscribe(guarded(steered or push), failed, guarded(steered or finish))

    if program.closed_from_start or run.stopping:
        finish()
        return Disposable()
    if steered is not None:
        def control(stop: bool) -> None:
            if run.stopping or not stop:
                guarded(steered.resume)()
            if run.stopping:
                guarded(finish)()
        run.controls.append(control)
    # In a trampoline, so that a cold source sends nothing before it can be disposed.
    guarded(lambda: CurrentThreadScheduler.singleton().schedule(subscribe))()
    return Disposable(subscription.dispose)


def run_pushed(program: Program, run: Context) -> Any:
    """The sink's result; returns when the Observable has ended, or the graph wants no more of it."""
    over = threading.Event()
    given: list[Any] = []
    subscription = begin(program, run, given, over.set)
    try:
        over.wait()
    except BaseException as error:
        run.fail(error, program.plan.segments[0])
    finally:
        subscription.dispose()
    if run.failure is not None:
        raise run.failure
    return given[0]


async def pushed_along(program: Program, run: Context) -> Any:
    """`run_pushed` on a loop: the Observable pushes as it likes, on this thread or another; we wait."""
    park = run.backend.park()
    given: list[Any] = []
    subscription = begin(program, run, given, lambda: run.backend.from_thread(lambda: run.backend.wake(park)),
                         pausable=True)
    try:
        await run.parked(park, outside=True)
    finally:
        subscription.dispose()
    return given[0] if given else None

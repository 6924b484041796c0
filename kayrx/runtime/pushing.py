"""A run that is pushed: a plan in which no node waits, over an Observable (ruling 19)."""

from __future__ import annotations

import threading
from typing import Any

from reactivex.disposable import SingleAssignmentDisposable
from reactivex.scheduler import CurrentThreadScheduler

from kayrx.runtime.context import Context
from kayrx.runtime.program import Program


def run_pushed(program: Program, run: Context) -> Any:
    """The sink's result; returns when the Observable has ended, or the graph wants no more of it.

    Nothing that a step raises reaches the Observable, whose other observers must not notice; the
    subscription is disposed and the error is raised here.
    """
    segment = program.plan.segments[0]
    assert segment.head is not None
    what: Any = segment.head.node.what  # type: ignore[attr-defined]
    over = threading.Event()
    given: list[Any] = []
    subscription = SingleAssignmentDisposable()

    def complete(result: Any) -> None:
        given.append(result)
        over.set()
        subscription.dispose()

    def failed(error: BaseException) -> None:
        if not over.is_set():
            run.fail(error, segment)
            over.set()
        subscription.dispose()

    push, finish = program.push.function(run, lambda x: None, complete)

    def on_next(item: Any) -> None:
        try:
            push(item)
        except BaseException as error:
            failed(error)

    def completed() -> None:
        try:
            finish()
        except BaseException as error:
            failed(error)

    def subscribe(*_: object) -> None:
        subscription.disposable = what.subscribe(on_next, failed, completed)

    if program.closed_from_start:
        finish()
        return given[0]
    try:
        # In a trampoline, so that a cold source sends nothing before it can be disposed.
        CurrentThreadScheduler.singleton().schedule(subscribe)
        over.wait()
    except BaseException as error:
        failed(error)
    finally:
        subscription.dispose()
    if run.failure is not None:
        raise run.failure
    return given[0]

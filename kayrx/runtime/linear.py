"""Linear plans: opening a source, and a run that is one call of the pump."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from kayrx.plan.plan import Step
from kayrx.runtime.backend import SyncBackend
from kayrx.runtime.context import Context
from kayrx.runtime.guards.chain import Guarded, now
from kayrx.runtime.program import Program
from kayrx.runtime.sources.opening import anew, counted, iterate
from kayrx.runtime.sources.seeking import seek_now
from kayrx.runtime.world import World


def pulled(head: Step, run: Context) -> tuple[Any, Iterator[Any], Callable[[], int]]:
    """A synchronous source: what to close, what to read, and the ordinal of the item it gave last."""
    opening = iterate if run.saver is None else seek_now
    if head.guards:
        items: Any = Guarded(head, run).each_now(anew(opening, head.node, run), None)
    else:
        items = opening(head.node, run)
    if run.saver is not None:  # barriers are no items
        return items, items, run.saver.position(head)
    return items, *counted(items)


def opened(program: Program, run: Context, *, alone: bool = False) -> tuple[Any, Any]:
    """The source of a linear plan: what to close, and what the last (``alone``: the first) run of steps reads."""
    head = program.plan.segments[0].head
    assert head is not None
    if program.closed_from_start:
        return (), iter(()) if alone else program.through(iter(()), run)
    items, source, run.positions[0] = pulled(head, run)
    return items, source if alone else program.through(source, run)


def run_linear(program: Program, world: World, *, resume: bool = False) -> Any:
    """Run a plan in which nothing waits, in this thread, and give the sink's result."""
    run = Context(program, world, SyncBackend(world), resume=resume)
    segment = program.plan.segments[0]
    if segment.fed == "push":
        from kayrx.runtime.rx.pushing import run_pushed  # late: it loads reactivex

        return run_pushed(program, run)
    items: Any = ()
    try:
        with run.opened.now():
            if run.saver is not None:
                now(run.saver.open())
            items, source = opened(program, run)
            return program.pump.function(source, run)
    except BaseException as error:
        run.fail(error, segment)
        raise
    finally:
        close(items)


def close(items: Any) -> None:
    """Close a generator, so that its ``finally`` runs now and not some time later."""
    closing = getattr(items, "close", None)
    if closing is not None:
        closing()

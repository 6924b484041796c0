"""Runs as Observables: a plan pulled on the subscription's scheduler, a network run inside it, a task of the loop."""

from __future__ import annotations

from typing import Any

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable
from reactivex.scheduler import CurrentThreadScheduler

from kayrx.errors import RunError
from kayrx.graph.graph import Graph
from kayrx.nodes.ends import each
from kayrx.runtime.backend import SyncBackend, loop_running
from kayrx.runtime.context import Context
from kayrx.runtime.engine import Network
from kayrx.runtime.faces import blame
from kayrx.runtime.hosting import spawn
from kayrx.runtime.linear import close, opened
from kayrx.runtime.program import Program, program
from kayrx.runtime.world import World


def here_or_there(here: Observable[Any], there: Observable[Any]) -> Observable[Any]:
    """``here``; but ``there`` where a loop runs and the subscriber chose no scheduler."""
    def subscribe(observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        chosen = there if scheduler is None and loop_running() else here
        return chosen.subscribe(observer, scheduler=scheduler)

    return Observable(subscribe)


def pulled(made: Program, world: World) -> Observable[Any]:
    """A linear plan, pulled on the scheduler of the subscription until it is disposed."""
    segment = made.plan.segments[0]
    what = made.plain_items

    def begun() -> tuple[Context | None, Any, Any]:
        """A run, what to close after it, and what it reads; a plain sequence needs no context until it fails."""
        if what is not None:
            items = iter(what)
            return None, items, items
        run = Context(made, world, SyncBackend(world))
        return run, *opened(made, run)

    def subscribe(observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        disposed = False

        def stop() -> None:
            nonlocal disposed
            disposed = True

        def action(_: abc.SchedulerBase, __: Any = None) -> None:
            if disposed:
                return
            items: Any = ()
            try:
                run, items, given = begun()
                out = made.gen.function(given, run)
                while not disposed:
                    try:
                        item = next(out)
                    except StopIteration:
                        observer.on_completed()
                        return
                    except Exception as error:
                        if run is None:
                            blame(made, error, items, len(what or ()))
                        else:
                            run.fail(error, segment)
                        observer.on_error(error)
                        return
                    observer.on_next(item)
            finally:
                close(items)

        (scheduler or CurrentThreadScheduler.singleton()).schedule(action)
        return Disposable(stop)

    return Observable(subscribe)


class Disposed(Exception):
    """Ends a run whose observer has left."""


def networked(graph: Graph[Any, Any], world: World) -> Observable[Any]:
    """A synchronous plan of several segments, run inside the subscription."""
    def subscribe(observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        left = Disposable()

        def give(item: Any) -> None:
            if left.is_disposed:
                raise Disposed
            observer.on_next(item)

        def action(_: abc.SchedulerBase, __: Any = None) -> None:
            try:
                Network(program(graph >> each(give)), world, sync=True).execute_sync()
            except Disposed:
                return
            except Exception as error:
                observer.on_error(error)
                return
            observer.on_completed()

        chosen = scheduler or CurrentThreadScheduler.singleton()
        return CompositeDisposable(chosen.schedule(action), left)

    return Observable(subscribe)


def bridged(graph: Graph[Any, Any], world: World) -> Observable[Any]:
    """A plan that waits, run as a task of the running loop (ruling 19)."""
    def subscribe(observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        if loop_running() is None:
            observer.on_error(RunError(f"{graph.nodes[-1].where}: a node of this graph waits, so it needs a running "
                                       "event loop; subscribe inside asyncio or trio"))
            return Disposable()
        made = program(graph >> each(observer.on_next))

        async def work() -> None:
            try:
                await Network(made, world).execute()
            except Exception as error:
                observer.on_error(error)
            else:
                observer.on_completed()

        return Disposable(spawn(work))

    return Observable(subscribe)

"""The faces of a graph that run it: run, await, start, stream, async for, and the call on one item."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import suppress
from types import NoneType
from typing import Any

from kayrx.errors import GraphError, RunError
from kayrx.graph.graph import Graph
from kayrx.nodes.ends import source, to_list
from kayrx.plan.keeping import Barrier
from kayrx.plan.plan import Options, taken_apart as split
from kayrx.plan.shapes import WAIT
from kayrx.runtime.backend import SyncBackend, current
from kayrx.runtime.context import Context
from kayrx.runtime.engine import Network
from kayrx.runtime.linear import close, opened, run_linear
from kayrx.runtime.private import on_private_loop
from kayrx.runtime.program import Program, must_be_fed, must_be_open, program
from kayrx.runtime.run import Run
from kayrx.runtime.saving import READER
from kayrx.runtime.world import THE_WORLD, World


def taken_apart(options: dict[str, Any], *more: str) -> tuple[Options, dict[str, Any]]:
    """The compile options among keyword arguments, and the rest; GraphError for what is neither."""
    chosen, rest = split(options, "world", *more)
    if not isinstance(rest.get("world"), (World, NoneType)):
        raise GraphError(f"world must be a kx.World, got {type(rest['world']).__name__}")
    if rest.get("backend") not in (None, "sync", "asyncio", "trio"):
        raise GraphError(f"backend={rest['backend']!r}: the backends are asyncio, trio and, where nothing waits, sync")
    return chosen, rest


# -- run -----------------------------------------------------------------------------------------


def run(graph: Graph[Any, Any], **options: Any) -> Any:
    """Run to the end in place, or on a private loop if a node waits (ruling 12)."""
    chosen, rest = taken_apart(options, "backend", "resume")
    made = program(graph, chosen)
    must_be_fed(made.plan, graph, "run")
    world, resume = rest.get("world") or THE_WORLD, resumes(made, graph, rest)
    if made.plan.linear and rest.get("backend") in (None, "sync"):
        return run_linear(made, world, resume=resume)
    if not made.plan.loop and rest.get("backend") in (None, "sync"):
        return Network(made, world, sync=True, resume=resume).execute_sync()
    if rest.get("backend") == "sync":
        raise RunError("backend='sync': a node of this graph waits; leave it out, or take 'asyncio' or 'trio'")
    made = program(graph, chosen, on_loop=True)
    return on_private_loop(lambda: executed(made, world, resume), rest.get("backend") or "asyncio")


def resumes(made: Program, graph: Graph[Any, Any], rest: dict[str, Any]) -> bool:
    """True if the run goes on from its checkpoint; GraphError if there is none in the graph."""
    resume = bool(rest.get("resume"))
    if resume and not made.saves:
        raise GraphError("resume=True: the graph saves nothing to go on from; write kx.checkpoint(store) in it")
    return resume


async def executed(made: Program, world: World, resume: bool = False) -> Any:
    return await Network(made, world, resume=resume).execute()


def runner(graph: Graph[Any, Any]) -> Callable[[], Any]:
    """``graph.run`` without options, made once: what an app pays per request is only the call."""
    made = program(graph)
    if made.plain_items is None:
        return lambda: run(graph)
    pump, items = made.pump.function, made.plain_items

    def run_quickly() -> Any:
        source = iter(items)
        try:
            return pump(source, None)
        except BaseException as error:
            blame(made, error, source, len(items))
            raise

    return run_quickly


def blame(made: Program, error: BaseException, source: Any, total: int) -> None:
    """Note the failure of a quick run, which had no context to note it in."""
    context = Context(made, THE_WORLD, SyncBackend(THE_WORLD))
    context.positions[0] = lambda: total - source.__length_hint__() - 1
    context.fail(error, made.plan.segments[0])


def collect(graph: Graph[Any, Any], **options: Any) -> list[Any]:
    """The list of what comes out."""
    listed = graph._faces.get("listed")
    if listed is None:
        must_have_output(graph, "collect")
        listed = graph._faces["listed"] = graph >> to_list()
    return listed.run(**options)


# -- on the current loop -------------------------------------------------------------------------


def awaited(graph: Graph[Any, Any]) -> Coroutine[Any, Any, Any]:
    """``await graph``: a fresh run on the current loop."""
    made = program(graph, on_loop=True)
    must_be_fed(made.plan, graph, "await")
    return Network(made, THE_WORLD).execute()


def start(graph: Graph[Any, Any], **options: Any) -> Run:
    """A handle; nothing happens before ``async with``."""
    chosen, rest = taken_apart(options, "host", "resume")
    made = program(graph, chosen, on_loop=True)
    must_be_fed(made.plan, graph, "start")
    return Run(made, rest.get("world") or THE_WORLD, rest.get("host"), resume=resumes(made, graph, rest))


def stream(graph: Graph[Any, Any], **options: Any) -> Stream:
    """Async iteration over what comes out, as an async context manager."""
    chosen, rest = taken_apart(options, "resume")
    must_have_output(graph, "stream")
    made = program(graph, chosen, streamed=True)
    must_be_fed(made.plan, graph, "stream")
    return Stream(made, rest.get("world") or THE_WORLD, resumes(made, graph, rest))


def must_have_output(graph: Graph[Any, Any], verb: str) -> None:
    plan = program(graph).plan
    if (plan.sinks and verb != "collect") or len(plan.open_outputs) != 1:
        remedy = "; graph.run() gives what its sinks give" if plan.sinks else ""
        raise GraphError(f"cannot {verb}: {graph.nodes[-1].where} leaves no single output to read{remedy}")


class Stream:
    """``async with graph.stream() as items``: the run goes on beside the reader, ``16`` items ahead at most.

    Leaving the block cancels the run and waits until nothing of it is left.
    """

    def __init__(self, made: Program, world: World, resume: bool) -> None:
        self._run = Run(made, world, resume=resume)

    async def __aenter__(self) -> AsyncIterator[Any]:
        await self._run.__aenter__()
        self._reader = self._items()
        return self._reader

    async def _items(self) -> AsyncGenerator[Any, None]:
        run = self._run._running.run
        gate = run.gates[-1]
        while not await gate.wait():
            for item in gate.drain(run.program.options.chunk):
                if type(item) is Barrier and run.saver is not None:
                    gate.taken -= 1  # it is no item
                    await run.saver.met(READER, item.number)
                    continue
                yield run.ledger.value(item)
                run.ledger.lost(item, "delivered", "stream")
        await self._run.wait()

    async def __aexit__(self, *_: Any) -> bool:
        if not self._run.done:
            await self._run._cancelled()
        self._run._error = None  # the reader has seen it, or has left before it came
        await self._run.__aexit__(None, None, None)
        with suppress(RuntimeError):  # another task is reading, and will see the end itself
            await self._reader.aclose()
        return False


def iterate(graph: Graph[Any, Any]) -> AsyncIterator[Any]:
    """``async for item in graph``, in the task of the reader alone (ruling 13)."""
    must_have_output(graph, "iterate")
    made = program(graph, on_loop=True)
    must_be_fed(made.plan, graph, "iterate")
    return iterated(made)


async def iterated(made: Program) -> AsyncIterator[Any]:
    plan = made.plan
    if plan.linear and plan.segments[0].fed == "iter":
        run = Context(made, THE_WORLD, current(THE_WORLD))
        items: Any = ()
        try:
            items, source = opened(made, run, alone=True)
            for code in made.turning:
                source = code.function(source, run)
            for item in source:
                if item is not WAIT:
                    yield item
                elif run.due():
                    await run.rest()
        except GeneratorExit:
            raise
        except BaseException as error:
            run.fail(error, plan.segments[0])
            raise
        finally:
            close(items)
        return
    segment = plan.segments[0]
    pushed = segment.fed == "push" and not segment.lanes
    if len(plan.segments) > 1 or pushed or segment.fed not in ("iter", "aiter", "push") or len(made.mains[0]) > 1 \
            or made.mains[0][0].function.__code__.co_varnames[:2] == ("run", "outs"):
        raise RunError("this graph needs a task beside yours; write `async with graph.stream() as items`")
    network = Network(made, THE_WORLD)
    source, closing = network.source_of(segment)
    main, _ = made.agen.function(network.run, source, network.fans[0], None)
    items = main()
    try:
        async for item in items:
            yield item
    except GeneratorExit:
        raise
    except BaseException as error:
        if not network.run.ours(error):
            network.run.fail(error, segment)
        raise
    finally:
        await items.aclose()
        await network.close()
        await network.closed(closing)


# -- one item ------------------------------------------------------------------------------------


def caller(graph: Graph[Any, Any]) -> Callable[[Any], list[Any]]:
    """``graph(item)``: the compiled call of an open graph that never waits (ruling 23)."""
    made = program(graph)
    must_be_open(made.plan, graph, "graph(item)")
    if made.plan.loop:
        raise GraphError(f"graph(item) cannot wait, and {graph.nodes[-1].where} or a node before it does; "
                         "write `await (kx.source([item]) >> graph >> kx.to_list())`")
    segment = made.plan.segments[0]
    if not made.plan.linear or len(segment.runs) > 1:
        return lambda item: collect(source([item]) >> graph)

    def blamed(error: Exception) -> None:
        Context(made, THE_WORLD, SyncBackend(THE_WORLD)).fail(error, segment, None, 0)

    call = made.call(blamed).function
    if made.bare:
        return call
    return lambda item: call(item, Context(made, THE_WORLD, SyncBackend(THE_WORLD)))

"""Resources: what nodes need opened, once per run, and closed with it in reverse order."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import fields
from functools import partial
from typing import Any

from kayrx.errors import RunError
from kayrx.graph.node import Node, Opens, Resource
from kayrx.nodes.values import is_async, taking
from kayrx.plan.plan import Plan, every
from kayrx.runtime.places.threaded import InThread


def wanted(plan: Plan) -> Iterator[tuple[Node, Opens]]:
    """Every resource of a plan with the node that holds it, each once; guards' included."""
    seen: set[Any] = set()
    for step in every(plan.steps()):
        for node in (step.node, *step.guards):
            for f in fields(node):
                value = getattr(node, f.name)
                if isinstance(value, Opens) and key_of(value) not in seen:
                    seen.add(key_of(value))
                    yield node, value


def key_of(resource: Opens) -> Any:
    """What is opened once: a resource by identity, a value that tells all about itself by equality."""
    return id(resource) if isinstance(resource, Resource) else resource


class Opened:
    """The open objects of one run, by their resource."""

    def __init__(self, needed: tuple[tuple[Node, Opens], ...]) -> None:
        self._needed = needed
        self._objects: dict[Any, Any] = {}

    def __getitem__(self, resource: Opens) -> Any:
        try:
            return self._objects[key_of(resource)]
        except KeyError:
            raise RunError(f"{resource!r} is opened by run(), await, start() and stream() alone") from None

    def store(self, store: Any) -> Any:
        """Where letters go; a store that is a value can be used though no run has opened it, for one call."""
        if not isinstance(store, Opens):
            return store
        return self._objects.get(key_of(store), store) if hasattr(store, "append") else self[store]

    def lend(self, resource: Opens, made: Any) -> None:
        """Somebody else has it open, and will close it."""
        self._objects[key_of(resource)] = made

    def _wanting(self) -> list[tuple[Node, Opens]]:
        return [(node, resource) for node, resource in self._needed if key_of(resource) not in self._objects]

    @contextmanager
    def now(self) -> Iterator[None]:
        """All open, in a synchronous run; what has only an async way of opening or closing is refused."""
        with ExitStack() as stack:
            for node, resource in self._wanting():
                made = resource.factory()
                if (how := waiting(made)) is not None:
                    left(made)
                    raise RunError(f"{node.where}: its resource {how} asynchronously; write `await graph`")
                if hasattr(made, "__enter__"):
                    made = stack.enter_context(made)
                elif hasattr(made, "close"):
                    stack.push(partial(closed_now, made, node))
                self._objects[key_of(resource)] = made
            yield

    @asynccontextmanager
    async def on_loop(self) -> AsyncIterator[None]:
        """All open, in a run on a loop."""
        async with AsyncExitStack() as stack:
            for _, resource in self._wanting():
                made: Any = InThread(resource.factory) if resource.blocking else resource.factory()
                if inspect.isawaitable(made):
                    made = await made
                if hasattr(made, "__aenter__"):
                    made = await stack.enter_async_context(made)
                elif hasattr(made, "aclose"):
                    stack.push_async_callback(made.aclose)
                elif hasattr(made, "__enter__"):
                    made = stack.enter_context(made)
                elif hasattr(made, "close"):
                    stack.push_async_callback(closed, made)
                self._objects[key_of(resource)] = made
            yield

    def taker(self, resource: Opens, where: str) -> Callable[[Any], Any]:
        """The function of an open sink that takes an item."""
        made = self[resource]
        take: Callable[[Any], Any] = getattr(made, method) if (method := taking(made)) else made
        if is_async(take):
            raise RunError(f"{where}: its resource takes items asynchronously ({method or 'its call'} is async), which "
                           "is known only now that it is open; give kx.each() an async function that uses it")
        return take


def waiting(made: Any) -> str | None:
    """What of an object of a synchronous run would have to be awaited: ``opens`` or ``closes``."""
    if inspect.isawaitable(made) or (hasattr(made, "__aenter__") and not hasattr(made, "__enter__")):
        return "opens"
    if hasattr(made, "__enter__"):
        return None
    close = getattr(made, "close", None)
    return "closes" if (hasattr(made, "aclose") if close is None else is_async(close)) else None


def left(made: Any) -> None:
    """A coroutine that nobody will await is closed, so that Python does not complain of it too."""
    if inspect.iscoroutine(made):
        made.close()


def closed_now(made: Any, node: Node, kind: object, failure: BaseException | None, trace: object) -> None:
    """Close an object without a loop; what turns out to wait is an error, for it is open still."""
    answer = made.close()
    if inspect.isawaitable(answer):
        left(answer)
        if failure is not None:
            return  # which is what the user has to know first
        raise RunError(f"{node.where}: its resource closes asynchronously, and may be open still; write `await graph`")


async def closed(made: Any) -> None:
    answer = made.close()
    if inspect.isawaitable(answer):
        await answer

"""Resources: what nodes need opened, once per run, and closed with it in reverse order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import fields
from typing import Any

from kayrx.errors import RunError
from kayrx.graph.node import Node, Opens, Resource
from kayrx.nodes.ends import METHODS
from kayrx.nodes.values import is_async
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
        """All open, in a synchronous run; what has only an async way of opening is refused."""
        with ExitStack() as stack:
            for node, resource in self._wanting():
                made = resource.factory()
                if hasattr(made, "__aenter__") and not hasattr(made, "__enter__"):
                    raise RunError(f"{node.where}: its resource opens asynchronously; write `await graph`")
                self._keep(resource, made, stack)
            yield

    @asynccontextmanager
    async def on_loop(self) -> AsyncIterator[None]:
        """All open, in a run on a loop."""
        async with AsyncExitStack() as stack:
            for _, resource in self._wanting():
                made = InThread(resource.factory) if resource.blocking else resource.factory()
                if hasattr(made, "__aenter__"):
                    self._objects[key_of(resource)] = await stack.enter_async_context(made)
                elif hasattr(made, "aclose"):
                    stack.push_async_callback(made.aclose)
                    self._objects[key_of(resource)] = made
                else:
                    self._keep(resource, made, stack)
            yield

    def _keep(self, resource: Opens, made: Any, stack: ExitStack | AsyncExitStack) -> None:
        if hasattr(made, "__enter__"):
            made = stack.enter_context(made)
        elif hasattr(made, "close"):
            stack.callback(made.close)
        self._objects[key_of(resource)] = made

    def taker(self, resource: Opens) -> Callable[[Any], Any]:
        """The function of an open sink that takes an item."""
        made = self[resource]
        method = next((m for m in METHODS if hasattr(made, m)), None)
        take = getattr(made, method) if method else made
        if is_async(take):
            raise RunError(f"sink({resource!r}): {method or 'what it opens'} is async, but whether it waits must be "
                           "known before it is open; use it in an async function: kx.each(f)")
        return take  # type: ignore[no-any-return]

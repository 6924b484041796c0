"""Units as plain calls: what a guard calls again when it tries an item once more."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any, Final

from kayrx.nodes.values import is_async
from kayrx.plan.probe import paired, plain


class Dropped:
    """The mark for "nothing goes on": a predicate said no, or a guard dropped the item."""

    def __repr__(self) -> str:
        return "DROPPED"


DROPPED: Final = Dropped()


async def called(where: str, fn: Callable[..., Any], *args: Any) -> Any:
    """The value of a user's function, async or not; Misused if it is awaitable and was not to be (ruling 24)."""
    value = fn(*args)
    if is_async(fn):
        return await value
    plain(value, where)
    return value


def selecting(predicate: Callable[[Any], Any], where: str) -> Callable[[Any], Any]:
    """``predicate`` as a function that gives the item, or DROPPED."""
    if is_async(predicate):
        async def select_async(x: Any) -> Any:
            return x if await predicate(x) else DROPPED
        return select_async

    def select(x: Any) -> Any:
        plain(chosen := predicate(x), where)
        return x if chosen else DROPPED
    return select


def tapping(effect: Callable[[Any], Any], where: str) -> Callable[[Any], Any]:
    """``effect`` as a function that gives the item back."""
    if is_async(effect):
        async def tap_async(x: Any) -> Any:
            await effect(x)
            return x
        return tap_async

    def tap(x: Any) -> Any:
        plain(effect(x), where)
        return x
    return tap


def remembering(fn: Callable[[Any, Any], Any], key: Callable[[Any], Any] | None, seed: Any,
                where: str) -> Callable[..., Any]:
    """``stateful_map`` as a function of all states and an item; gives key, state and output, and changes nothing."""
    if is_async(fn) or (key is not None and is_async(key)):
        async def remember_async(states: Any, x: Any) -> Any:
            k = None if key is None else await called(where, key, x)
            state, y = await called(where, fn, states[k] if k in states else deepcopy(seed), x)
            return k, state, y
        return remember_async

    def remember(states: Any, x: Any) -> Any:
        k = None if key is None else key(x)
        plain(k, where)
        paired(given := fn(states[k] if k in states else deepcopy(seed), x), where)
        return k, *given
    return remember


def way_of(ways: dict[Any, int], key: Any, where: str) -> int:
    """The branch for ``key``; KeyError, naming the routes there are, for any other."""
    try:
        return ways[key]
    except KeyError:
        raise KeyError(f"{where}: no branch for {key!r}; the routes are {list(ways)}") from None

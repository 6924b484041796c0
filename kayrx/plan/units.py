"""Units as plain calls: what a guard calls again when it tries an item once more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kayrx.nodes.values import is_async


class Dropped:
    """The mark for "nothing goes on": a predicate said no, or a guard dropped the item."""

    def __repr__(self) -> str:
        return "DROPPED"


DROPPED: Final = Dropped()


def selecting(predicate: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """``predicate`` as a function that gives the item, or DROPPED."""
    if is_async(predicate):
        async def select_async(x: Any) -> Any:
            return x if await predicate(x) else DROPPED
        return select_async

    def select(x: Any) -> Any:
        return x if predicate(x) else DROPPED
    return select


def tapping(effect: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """``effect`` as a function that gives the item back."""
    if is_async(effect):
        async def tap_async(x: Any) -> Any:
            await effect(x)
            return x
        return tap_async

    def tap(x: Any) -> Any:
        effect(x)
        return x
    return tap

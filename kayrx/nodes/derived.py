"""Derived operators: functions over the core nodes, which the compiler never hears of."""

from __future__ import annotations

import operator
from typing import TypeVar

from kayrx.graph.graph import Graph
from kayrx.nodes.transform import reduce

T = TypeVar("T")


def one_more(count: int, _: object) -> int:
    return count + 1  # which the compiler writes in place


def count() -> Graph[object, int]:
    """Give the number of items, once, at the end.

    In:      any items.  Out: one int, 0 for no items.
    Order:   of no account.  Memory: the number.
    Raises:  nothing of its own.
    Source:  ReactiveX "Count".

    >>> import kayrx as kx
    >>> (kx.source("abc") >> kx.count()).collect()
    [3]
    """
    return reduce(one_more, 0)


def sum() -> Graph[float, float]:
    """Give the sum of the items, once, at the end; 0 for none.

    In:      numbers, or what else can be added to 0.  Out: one number.
    Order:   items are added as they come.  Memory: the sum so far.
    Raises:  what the addition raises, with a note: TypeError for a str.
    Source:  ReactiveX "Sum".

    >>> import kayrx as kx
    >>> (kx.source([1, 2, 3]) >> kx.sum()).collect()
    [6]
    """
    return reduce(operator.add, 0)


__all__ = ["count", "sum"]

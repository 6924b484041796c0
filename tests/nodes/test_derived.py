"""Derived operators: functions over core nodes, which the compiler never hears of."""

from __future__ import annotations

import kayrx as kx


def test_count_gives_the_number_once_at_the_end(backend: str) -> None:
    """One number, 0 for none; None counts."""
    assert (kx.source("abc") >> kx.count()).collect(backend=backend) == [3]
    assert (kx.source([]) >> kx.count()).collect(backend=backend) == [0]
    assert (kx.source([None, None]) >> kx.count()).collect(backend=backend) == [2]


def test_sum_gives_the_sum_once_at_the_end(backend: str) -> None:
    """One sum, 0 for none."""
    assert (kx.source([1, 2.5]) >> kx.sum()).collect(backend=backend) == [3.5]
    assert (kx.source([]) >> kx.sum()).collect(backend=backend) == [0]


def test_derived_operators_are_values_of_core_nodes() -> None:
    """They expand into the vocabulary when written, so equal ones are equal."""
    assert kx.count() == kx.count() != kx.sum()
    assert [n.word for n in (kx.count() >> kx.sum()).nodes] == ["reduce", "reduce"]

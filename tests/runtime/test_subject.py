"""`Subject` and ``graph.subscribe``: pushing by hand, without a queue."""

from __future__ import annotations

from typing import Any

import pytest
import reactivex
from reactivex import operators as ops

import kayrx as kx


def test_a_subject_calls_the_fused_step_of_its_only_subscriber() -> None:
    """``on_next`` is the generated step itself: nothing stands between."""
    subject, out = kx.Subject(), []
    subscription = (subject >> kx.map(kx.it + 1) >> kx.filter(kx.it % 2 == 0)).subscribe(out.append)
    for x in range(6):
        subject.on_next(x)
    assert out == [2, 4, 6]
    assert subject.on_next.__name__ == "push"
    subscription.dispose()
    subject.on_next(9)
    assert out == [2, 4, 6]


@pytest.mark.parametrize("kept_at", [0, 1, 2])
def test_an_on_next_that_somebody_keeps_reaches_all_who_subscribe_later(kept_at: int) -> None:
    """As in Rx it may be given away as a callback, before the first subscriber, between two, or after."""
    subject, outs = kx.Subject(), [[], [], []]
    numbered = subject >> kx.scan(lambda n, x: n + x, 0)
    held, kept = [], None
    for number, out in enumerate(outs):
        if number == kept_at:
            kept = subject.on_next
        held.append(numbered.subscribe(out.append))
        kept = kept or subject.on_next
        kept(1)
        subject.on_next(1)
    held[0].dispose()
    kept(1)
    held[2].dispose()
    kept(1)
    subject.on_next(1)
    held[1].dispose()
    kept(1)
    numbered.subscribe(held.append)
    kept(5)
    subject.on_completed()
    kept(1)
    assert outs == [[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6, 7], [1, 2, 3]]
    assert held[3:] == [5]


def test_a_step_that_has_ended_by_itself_stays_ended_in_company() -> None:
    """``take`` is over after its items, whoever else subscribes and leaves, and however it is pushed."""
    subject, first, others = kx.Subject(), [], []
    (subject >> kx.take(1)).subscribe(first.append)
    kept = subject.on_next
    kept(1)
    other = subject.subscribe(others.append)
    kept(2)
    other.dispose()
    kept(3)
    assert (first, others) == ([1], [2])


def test_completion_flushes_and_is_told_once() -> None:
    """What a buffer holds comes out before the end; nothing after it."""
    subject, out = kx.Subject(), []
    (subject >> kx.buffer(count=2)).subscribe(out.append, on_completed=lambda: out.append("end"))
    subject.on_next(1)
    subject.on_completed()
    subject.on_completed()
    subject.on_next(2)
    assert out == [[1], "end"]


def test_one_subscriber_that_raises_is_cut_off_and_its_siblings_never_notice() -> None:
    """With several subscribers an error goes to the one that raised (law 7)."""
    subject, good, errors = kx.Subject(), [], []
    (subject >> kx.map(lambda x: 1 / x)).subscribe(None, errors.append)
    subject.subscribe(good.append)
    for x in (1, 0, 2):
        subject.on_next(x)
    assert good == [1, 0, 2]
    assert [type(e) for e in errors] == [ZeroDivisionError]
    assert "in node 'map'" in errors[0].__notes__[0]


def test_without_on_error_the_producer_hears_of_it() -> None:
    """An error nobody listens to is raised to whoever pushed."""
    subject = kx.Subject()
    (subject >> kx.map(lambda x: 1 / x)).subscribe(print)
    with pytest.raises(ZeroDivisionError):
        subject.on_next(0)


def test_an_error_of_the_source_is_passed_on() -> None:
    """``on_error`` ends the stream; a later subscriber hears of it at once."""
    subject, errors = kx.Subject(), []
    (subject >> kx.map(str)).subscribe(None, errors.append)
    failure = OSError("gone")
    subject.on_error(failure)
    subject.subscribe(on_error=errors.append)
    assert errors == [failure, failure]


def test_a_subject_goes_through_rx_operators() -> None:
    """``pipe`` gives a reactivex Observable of it."""
    subject, out = kx.Subject(), []
    subject.pipe(ops.map(lambda x: x * 2)).subscribe(out.append)
    subject.on_next(4)
    assert out == [8]


def test_an_observer_subscribes_as_well_as_callbacks_do() -> None:
    """RxPY takes either, and hands observers to what it subscribes to."""
    subject, heard = kx.Subject(), []
    subject.subscribe(reactivex.Observer(heard.append, heard.append, lambda: heard.append("end")))
    subject.on_next(1)
    subject.on_completed()
    assert heard == [1, "end"]


def test_subscribing_to_a_graph_with_its_own_items_runs_it() -> None:
    """Any graph can be run by callbacks; completion and errors are told."""
    out: list[Any] = []
    (kx.source([1, 2]) >> kx.map(kx.it * 10)).subscribe(out.append, on_completed=lambda: out.append("end"))
    (kx.source([0]) >> kx.map(lambda x: 1 / x)).subscribe(None, lambda e: out.append(type(e)))
    assert out == [10, 20, "end", ZeroDivisionError]

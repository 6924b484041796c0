"""`Subject` and ``graph.subscribe``: pushing by hand, without a queue."""

from __future__ import annotations

import functools
import itertools
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


@pytest.mark.parametrize("company", [False, True])
@pytest.mark.parametrize("graph", [kx.buffer(3) >> kx.map(lambda xs: 1 / 0), kx.reduce(lambda n, x: 1 / 0),
                                   kx.filter(lambda x: False) >> kx.reduce(max)], ids=["map", "reduce", "no items"])
def test_what_is_raised_at_the_completion_is_told_and_the_siblings_end(graph: Any, company: bool) -> None:
    """The last items of a buffer, and a fold of nothing, fail as any item does (law 7)."""
    subject, ends = kx.Subject(), []
    (subject >> graph).subscribe(None, lambda e: ends.append(type(e)), lambda: ends.append("end"))
    if company:
        subject.subscribe(None, None, lambda: ends.append("sibling"))
    subject.on_next(1)
    subject.on_next(2)
    subject.on_completed()
    assert len(ends) == 1 + company
    assert ends[0] in (ZeroDivisionError, kx.RunError)
    assert ends[1:] == ["sibling"] * company


def test_siblings_hear_an_item_and_the_end_before_the_producer_hears_what_nobody_takes() -> None:
    """Without ``on_error`` it is raised, but not in the middle of the round (law 7)."""
    subject, heard = kx.Subject(), []
    (subject >> kx.map(lambda x: 1 / x)).subscribe(None, None, lambda: 1 / 0)
    subject.subscribe(lambda x: 1 / x)
    subject.subscribe(heard.append, on_completed=lambda: heard.append("end"))
    with pytest.raises(ZeroDivisionError):
        subject.on_next(0)
    subject.on_next(0)  # both are cut off
    subject.subscribe(None, None, lambda: 1 / 0)
    subject.subscribe(None, None, lambda: heard.append("last"))
    with pytest.raises(ZeroDivisionError):
        subject.on_completed()
    assert heard == [0, 0, "end", "last"]


@pytest.mark.parametrize("ends", [kx.take(1), kx.map(lambda x: 1 / 0)], ids=["take", "error"])
def test_a_graph_that_is_over_leaves_its_subject(ends: Any) -> None:
    """Nothing of it stays with a source that lives on (law 8); an observable's subscription is disposed of."""
    subject, theirs, over = kx.Subject(), reactivex.Subject(), []
    for source in (subject, subject, theirs):
        (kx.source(source) >> ends).subscribe(None, over.append, lambda: over.append("end"))
    subject.on_next(1)
    theirs.on_next(1)
    assert len(over) == 3
    assert not subject._subscribers
    assert not theirs.observers


@pytest.mark.parametrize(("act", "told"), [
    ("dispose", []), ("error", [OSError]), ("complete", ["end"]), ("raise", [ZeroDivisionError])])
@pytest.mark.parametrize("company", [False, True])
def test_nothing_is_heard_after_the_end_also_in_the_middle_of_an_item(act: str, told: list[Any], company: bool) -> None:
    """One that leaves, or ends its source, from inside its callback gets no more of an item that goes on for ever."""
    subject, heard, closed = kx.Subject(), [], []

    def forever(x: int) -> Any:
        try:
            yield from itertools.count(x)
        finally:
            closed.append(x)

    def hear(x: int) -> None:
        heard.append(x)
        if x == 3:
            {"dispose": held.dispose, "error": lambda: subject.on_error(OSError()), "complete": subject.on_completed,
             "raise": lambda: 1 / 0}[act]()

    held = (subject >> kx.flat_map(forever) >> kx.map(kx.it + 0)).subscribe(
        hear, lambda e: heard.append(type(e)), lambda: heard.append("end"))
    if company:
        subject.subscribe(lambda x: None)
    subject.on_next(1)
    subject.on_next(1)
    assert heard == [1, 2, 3, *told]
    assert closed == [1]


@pytest.mark.parametrize("fails", [0, 12, 24])
def test_steps_of_several_runs_fail_and_are_left_as_one(fails: int) -> None:
    """Twenty expansions in a row are more than one function; the first of these goes on for ever."""
    subject, told = kx.Subject(), []
    nodes = [kx.flat_map(lambda x: 1 / 0) if at == fails else kx.flat_map(itertools.count if at == 0 else lambda x: [x])
             for at in range(25)]
    graph = functools.reduce(lambda g, node: g >> node, nodes)
    (subject >> graph).subscribe(None, lambda e: told.append(type(e)), lambda: told.append("end"))
    subject.on_next(1)
    subject.on_next(1)
    subject.on_completed()
    assert told == [ZeroDivisionError]


@pytest.mark.parametrize("graph", [kx.map(kx.it + 0), None], ids=["steps", "callback"])
def test_one_that_a_sibling_disposes_of_does_not_hear_the_item_that_is_on_its_way(graph: Any) -> None:
    """As in Rx; nor does another after an end that comes from inside the round."""
    subject, heard = kx.Subject(), []
    subject.subscribe(lambda x: held[0].dispose() if x == 2 else subject.on_completed() if x == 3 else None)
    held = [(subject if graph is None else subject >> graph).subscribe(heard.append) for _ in range(2)]
    for x in (1, 2, 3, 4):
        subject.on_next(x)
    assert heard == [1, 1, 2]


REENTRANT = {
    "take": (kx.take(1), ops.take(1)), "take_while": (kx.take_while(lambda x: x < 2, inclusive=True),
                                                      ops.take_while(lambda x: x < 2, inclusive=True)),
    "scan": (kx.scan(lambda n, x: n + x, 0), ops.scan(lambda n, x: n + x, 0)),
    "pairwise": (kx.pairwise(), ops.pairwise())}


@pytest.mark.parametrize("name", REENTRANT)
@pytest.mark.parametrize("where", ["map", "reader"])
def test_what_is_pushed_from_inside_an_item_is_worked_out_as_in_rx(name: str, where: str) -> None:
    """By a function before the node, which must not find its state half read, and by the reader."""
    def driven(subject: Any, join: Any) -> list[Any]:
        out: list[Any] = []

        def again(x: Any, at: Any) -> Any:
            if where == at and str(x)[-2:].strip("(,") in ("1", "2", "2)"):
                subject.on_next(50)
            return x

        join(subject, lambda x: again(x, "map")).subscribe(
            lambda x: (out.append(x), again(x, "reader")), None, lambda: out.append("end"))
        for x in (1, 2, 3):
            subject.on_next(x)
        subject.on_completed()
        return out

    ours, theirs = REENTRANT[name]
    assert driven(kx.Subject(), lambda s, f: s >> kx.map(f) >> ours) \
        == driven(reactivex.Subject(), lambda s, f: s.pipe(ops.map(f), theirs))


def test_an_operator_ends_an_item_that_goes_on_for_ever_when_it_is_disposed_of() -> None:
    """Its observer has enough in the middle of it."""
    out: list[int] = []
    reactivex.of(1).pipe(kx.flat_map(itertools.count).operator(), ops.take(3)).subscribe(out.append)
    assert out == [1, 2, 3]


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

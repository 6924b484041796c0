"""The log and the outboxes over it: bounds hold at every instant, and each policy loses what it says and no more."""

from __future__ import annotations

import random
from typing import Any

import pytest

import kayrx as kx
from kayrx.serve.events import OVERHEAD, Event, join_text, joined, weight
from kayrx.serve.log import Keep, Log
from kayrx.serve.outbox import Outbox, Reader


def filled(log: Log, items: Any) -> Log:
    for item in items:
        log.append(Event(log.last + 1, "data", item), weight(item))
    return log


def seqs(events: list[Event]) -> list[int]:
    return [event.seq for event in events]


@pytest.mark.parametrize(("keep", "held"), [
    (Keep(count=3), [8, 9, 10]), (Keep(bytes=2 * (OVERHEAD + weight("x")) + 9), [9, 10]), (Keep(bytes=1), [10]),
    (Keep(age=2.5), [8, 9, 10]), (Keep(), list(range(1, 11)))])
def test_the_log_is_bounded_by_count_by_bytes_and_by_age(keep: Keep, held: list[int]) -> None:
    """The newest event is always there, however large; what is held is in order without a gap."""
    log = Log(keep, lambda: float(log.last))

    filled(log, "x" * 10)

    assert seqs(log.after(log.first - 1, 99, 1 << 30)) == held == list(range(log.oldest(), 11))
    assert log.held == len(held) * (OVERHEAD + weight("x"))


def test_what_is_too_old_is_not_replayed_though_an_outbox_still_needs_it() -> None:
    """Age bounds the replay; it takes nothing from a client that has not read yet."""
    now = 0.0
    log = Log(Keep(age=5), lambda: now)
    log.widen(10, 1 << 20)
    filled(log, "ab")
    now = 6.0
    filled(log, "c")

    assert (log.first, log.oldest()) == (1, 3)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("policy", ["disconnect", "conflate", "drop_oldest", "latest"])
def test_each_policy_loses_what_it_says(policy: Any, seed: int) -> None:
    """Over random bursts and reads: never more waits than the bounds; conflate loses no text, drop_oldest keeps
    the newest, latest only the newest of all, disconnect lets go; what was dropped is counted exactly."""
    draw = random.Random(seed)
    log, bounds = Log(Keep(count=1), lambda: 0.0), Outbox(policy, items=4, bytes=1500)
    log.widen(bounds.items, bounds.bytes)
    reader, got = Reader(log, bounds, join_text, 0), list[Event]()

    for number in range(1, 200):
        size = weight("z" * (length := draw.randrange(1, 120)))
        if reader.beyond(number, log.total + size + OVERHEAD) and not reader.enforce():
            break
        log.append(Event(number, "data", f"{number}," + "z" * length), size)
        assert reader.behind or reader.waiting <= 4 or policy == "conflate"
        if draw.random() < 0.3:
            got += reader.read(3, 1 << 20)
    while not reader.cut and reader.waiting:
        got += reader.read(3, 1 << 20)

    assert seqs(got) == sorted(set(seqs(got)))
    assert reader.dropped == 199 - sum(event.count for event in got) or policy in ("disconnect", "conflate")
    match policy:
        case "conflate":
            assert reader.cut or sum(event.count for event in got) == 199
            assert [int(n) for event in got for n in event.data.replace("z", "").split(",")[:-1]] == list(
                range(1, sum(event.count for event in got) + 1))
        case "disconnect":
            assert reader.cut and reader.read(9, 99) == []
        case "latest" | "drop_oldest":
            assert got[-1].seq == 199 and reader.dropped


@pytest.mark.parametrize("policy", ["disconnect", "conflate"])
def test_an_item_larger_than_the_outbox_waits_alone(policy: Any) -> None:
    """Who takes each as it comes is never let go for its size; a second one beside it is too much."""
    log = Log(Keep(), lambda: 0.0)
    reader = Reader(log, Outbox(policy, bytes=100), join_text, 0)
    for number in range(1, 4):
        assert not reader.beyond(number, log.total + 10_000)
        filled(log, ["x" * 9000])
        assert [event.seq for event in reader.read(9, 1 << 20)] == [number]
    filled(log, ["y" * 9000])

    assert reader.beyond(5, log.total + 10_000) and (policy == "conflate" or not reader.enforce())


def test_a_terminal_is_never_dropped_and_fills_no_place() -> None:
    """However full the outbox, the end comes, with the newest item before it."""
    for policy, expected in (("latest", [4, 5]), ("drop_oldest", [3, 4, 5])):
        log = Log(Keep(), lambda: 0.0)
        reader = Reader(log, Outbox(policy, items=2), join_text, 0)  # type: ignore[arg-type]
        filled(log, "abcd").append(Event(5, "end"), 0)
        reader.enforce()

        assert seqs(reader.read(9, 9999)) == expected


def test_only_neighbouring_text_is_joined() -> None:
    """A retraction, a gap and an item of another type stay between; a joined event says how many it is."""
    events = [Event(1, "data", "a"), Event(2, "data", "b"), Event(3, "retract", {"after": 1}), Event(4, "data", "c"),
              Event(6, "data", "d"), Event(7, "data", 1), Event(8, "data", "e"), Event(9, "data", "f", 1)]

    assert [(e.seq, e.data, e.count) for e in joined(events, join_text)] == [
        (2, "ab", 2), (3, {"after": 1}, 1), (4, "c", 1), (6, "d", 1), (7, 1, 1), (9, "ef", 2)]
    assert joined(events[4:6], lambda a, b: (a, b)) == [Event(7, "data", ("d", 1), 2)]


@pytest.mark.parametrize("make", [lambda: Outbox("wait"), lambda: Outbox(items=0), lambda: Keep(bytes=0),  # type: ignore
                                  lambda: Keep(age=0)])
def test_bad_bounds_are_told_when_written(make: Any) -> None:
    """GraphError names the class, the argument and what is right."""
    with pytest.raises(kx.GraphError, match=r"Outbox|Keep"):
        make()

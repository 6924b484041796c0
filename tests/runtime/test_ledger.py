"""Law 6: every item ends exactly once in every branch, told by ``run.events()`` of ``start(events=True)``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from reactivex import operators as ops

import kayrx as kx
from kayrx.testing import run_virtual


async def pause(x: Any) -> Any:
    await anyio.sleep(0.001)
    return x


async def inverse(x: int) -> float:
    await anyio.sleep(0)
    return 10 / x


async def twice(x: Any) -> Any:
    yield x
    yield x


async def slowly(x: Any) -> Any:
    await anyio.sleep(1)
    yield x
    await anyio.sleep(1)
    yield x


def one_to(n: int) -> Any:
    return kx.source(range(1, n + 1))


def fates_of(graph: Any, loop: str) -> tuple[Counter[str], list[dict[str, Any]], BaseException | None]:
    """Run on virtual time; how many items ended in each way, the events, and what the run raised."""
    async def main() -> Any:
        run = graph.start(events=True)
        failure = None
        try:
            async with run:
                pass
        except Exception as error:
            failure = error
        return run.events(), failure

    events, failure = run_virtual(main, loop)
    entered = [e["id"] for e in events if e["event"] == "entered"]
    ended = Counter(e["id"] for e in events if "id" in e and e["event"] != "entered")
    assert len(set(entered)) == len(entered)
    assert set(ended) == set(entered) and set(ended.values()) <= {1}
    return Counter(e["event"] for e in events if "id" in e and e["event"] != "entered"), events, failure


SHAPES: dict[str, tuple[Callable[[], Any], dict[str, int]]] = {
    "filter": (lambda: one_to(20) >> kx.filter(kx.it % 2 == 0) >> kx.map(inverse) >> kx.to_list(),
               {"filtered": 10, "delivered": 10}),
    "flat_map, buffer, take": (
        lambda: one_to(6) >> kx.flat_map(lambda x: [x, x]) >> kx.buffer(count=3) >> kx.map(pause) >> kx.to_list(),
        {"split": 6, "absorbed": 12, "delivered": 4}),
    "take_last": (lambda: one_to(8) >> kx.take_last(3) >> kx.map(pause) >> kx.to_list(),
                  {"filtered": 5, "delivered": 3}),
    "last": (lambda: one_to(8) >> kx.map(pause) >> kx.last(kx.it < 5) >> kx.to_list(), {"filtered": 7, "delivered": 1}),
    "last of none": (lambda: one_to(8) >> kx.last(kx.it > 9, 0) >> kx.map(pause) >> kx.to_list(),
                     {"filtered": 8, "delivered": 1}),
    "first": (lambda: one_to(8) >> kx.map(pause) >> kx.first(kx.it > 3) >> kx.to_list(),
              {"filtered": 3, "delivered": 1}),
    "element_at": (lambda: one_to(8) >> kx.element_at(3) >> kx.map(pause) >> kx.to_list(),
                   {"filtered": 3, "delivered": 1}),
    "nothing": (lambda: one_to(8) >> kx.map(pause) >> kx.ignore_elements() >> kx.default_if_empty(3) >> kx.to_list(),
                {"filtered": 8, "delivered": 1}),
    "distinct": (lambda: kx.source([1, 2, 1, 2]) >> kx.distinct() >> kx.skip_while(kx.it < 2) >> kx.map(pause)
                 >> kx.to_list(), {"filtered": 3, "delivered": 1}),
    "stateful_map": (lambda: one_to(4) >> kx.stateful_map(lambda n, x: (n + 1, x), kx.it % 2, 0) >> kx.map(pause)
                     >> kx.with_index() >> kx.timestamp() >> kx.to_list(), {"delivered": 4}),
    "expand": (lambda: one_to(2) >> kx.expand(lambda x: [x, x], max_depth=1) >> kx.map(pause) >> kx.to_list(),
               {"split": 2, "delivered": 6}),
    "chunk": (lambda: kx.source(["a", "bcd", "", "e"]) >> kx.chunk(2, by="grapheme") >> kx.map(pause) >> kx.to_list(),
              {"absorbed": 4, "delivered": 3}),
    "materialize": (lambda: one_to(3) >> kx.map(pause) >> kx.materialize() >> kx.to_list(), {"delivered": 4}),
    "a failure told of": (lambda: kx.source([5, 2, 0, 1]) >> kx.map(inverse) >> kx.materialize() >> kx.to_list(),
                          {"failed": 1, "delivered": 3}),
    "dematerialize": (lambda: one_to(3) >> kx.materialize() >> kx.dematerialize() >> kx.map(pause) >> kx.to_list(),
                      {"filtered": 1, "delivered": 3}),
    "skip_errors": (lambda: kx.source(range(5)) >> kx.map(inverse) >> kx.skip_errors() >> kx.to_list(),
                    {"skipped": 1, "delivered": 4}),
    "dead_letter": (lambda: kx.source(range(5)) >> kx.map(inverse) >> kx.dead_letter([]) >> kx.to_list(),
                    {"dead_letter": 1, "delivered": 4}),
    "fallback": (lambda: kx.source(range(5)) >> kx.map(inverse) >> kx.fallback(str) >> kx.to_list(),
                 {"delivered": 5}),
    "windows": (lambda: one_to(8) >> kx.sliding(3) >> kx.map(pause) >> kx.pairwise() >> kx.to_list(),
                {"absorbed": 14, "delivered": 5}),
    "group_by": (lambda: one_to(8) >> kx.group_by(kx.it % 3, kx.buffer(2)) >> kx.map(pause) >> kx.to_list(),
                 {"absorbed": 8, "delivered": 5}),
    "window": (lambda: one_to(8) >> kx.window(3, kx.flat_map(lambda x: [x, x]) >> kx.take(4)) >> kx.to_list(),
               {"absorbed": 8, "delivered": 12}),
    "window_by": (lambda: one_to(8) >> kx.window_by(event_time=kx.it, sliding=(4, 2)) >> kx.map(pause) >> kx.to_list(),
                  {"absorbed": 8, "delivered": 6}),
    "join": (lambda: one_to(8) >> kx.join(kx.source([3, 8]), within=1, event_time=kx.it) >> kx.map(pause)
             >> kx.to_list(), {"absorbed": 7, "filtered": 3, "delivered": 5}),
    "window_by and late items": (
        lambda: kx.source([1, 9, 2, 12]) >> kx.window_by(event_time=kx.it, tumbling=4, late=kx.each(pause))
        >> kx.to_list(), {"absorbed": 3, "delivered": 4}),
    "reduce": (lambda: one_to(8) >> kx.map(pause) >> kx.reduce(lambda a, b: a + b) >> kx.to_list(),
               {"absorbed": 8, "delivered": 1}),
    "zip": (lambda: one_to(20) >> [kx.map(str), kx.map(pause)] >> kx.zip() >> kx.to_list(),
            {"split": 20, "absorbed": 40, "delivered": 20}),
    "merge": (lambda: one_to(20) >> [kx.map(str), kx.map(pause)] >> kx.merge() >> kx.to_list(),
              {"split": 20, "delivered": 40}),
    "partition": (lambda: one_to(10) >> kx.partition(kx.it > 5, kx.to_list(), kx.map(pause) >> kx.to_list()),
                  {"delivered": 10}),
    "several at once": (lambda: one_to(40) >> kx.filter(kx.it > 3) >> kx.map(pause, concurrency=4) >> kx.to_list(),
                        {"filtered": 3, "delivered": 37}),
    "expansion at once": (lambda: one_to(10) >> kx.flat_map(twice) >> kx.to_list(), {"split": 10, "delivered": 20}),
    "debounce": (lambda: one_to(10) >> kx.debounce(1) >> kx.to_list(), {"filtered": 9, "delivered": 1}),
    "timed buffer": (lambda: one_to(10) >> kx.buffer(count=4, seconds=9) >> kx.map(pause) >> kx.to_list(),
                     {"absorbed": 10, "delivered": 3}),
    "an Rx operator": (lambda: one_to(10) >> kx.rx(ops.pairwise()) >> kx.map(pause) >> kx.to_list(),
                       {"absorbed": 10, "delivered": 9}),
    "conflate": (lambda: one_to(5) >> kx.backpressure(1, overflow=kx.conflate(lambda a, b: a + b))
                 >> kx.map(pause) >> kx.to_list(), {"absorbed": 8, "delivered": 1}),
    "with_latest_from": (lambda: one_to(5) >> kx.with_latest_from(kx.source([0])) >> kx.to_list(),
                         {"absorbed": 6, "delivered": 5}),
    "zip_latest": (lambda: kx.zip_latest(one_to(5) >> kx.buffer(count=5), one_to(1)) >> kx.to_list(),
                   {"absorbed": 7, "delivered": 1}),
    "switch_map": (lambda: one_to(5) >> kx.switch_map(slowly) >> kx.to_list(),
                   {"cancelled": 4, "split": 1, "delivered": 2}),
    "exhaust_map": (lambda: one_to(5) >> kx.exhaust_map(slowly) >> kx.to_list(),
                    {"filtered": 4, "split": 1, "delivered": 2}),
    "switch_map at once": (lambda: one_to(5) >> kx.switch_map(lambda x: [x, x]) >> kx.to_list(),
                           {"split": 5, "delivered": 10}),
    "coalesce": (lambda: one_to(5) >> kx.coalesce(9, lambda a, b: a + b) >> kx.map(pause) >> kx.to_list(),
                 {"absorbed": 8, "delivered": 1}),
    "rate_limit": (lambda: one_to(5) >> kx.rate_limit(1, key=kx.it % 2) >> kx.to_list(), {"delivered": 5}),
    "keep_alive": (lambda: kx.timer(5) >> kx.keep_alive(2, 1) >> kx.to_list(), {"delivered": 3}),
    "also_to": (lambda: one_to(5) >> kx.also_to(kx.to_list()) >> kx.to_list(), {"split": 5, "delivered": 10}),
    "divert_to": (lambda: one_to(5) >> kx.divert_to(kx.to_list(), kx.it > 3) >> kx.to_list(), {"delivered": 5}),
    "balance": (lambda: one_to(5) >> kx.balance(kx.map(pause), kx.map(pause)) >> kx.merge() >> kx.to_list(),
                {"delivered": 5}),
    "share": (lambda: kx.merge(shared := one_to(5) >> kx.share(), shared >> kx.filter(kx.it > 3)) >> kx.to_list(),
              {"split": 5, "filtered": 3, "delivered": 7}),
    "share that replays": (lambda: kx.concat(shared := one_to(5) >> kx.share(replay=2), shared) >> kx.to_list(),
                           {"split": 5, "delivered": 7}),
    "race": (lambda: kx.race(one_to(3), one_to(4)) >> kx.to_list(), {"filtered": 4, "delivered": 3}),
    "merge_prioritized": (lambda: kx.merge_prioritized(one_to(3), one_to(4), priorities=(1, 2)) >> kx.to_list(),
                          {"delivered": 7}),
    "take_until": (lambda: one_to(5) >> kx.take_until(kx.source([0])) >> kx.to_list(),
                   {"filtered": 1, "cancelled": 5}),
    "skip_until": (lambda: kx.interval(1) >> kx.take(5) >> kx.skip_until(kx.timer(2.5)) >> kx.to_list(),
                   {"filtered": 3, "delivered": 3}),
    "pause_when": (lambda: one_to(5) >> kx.pause_when(kx.source([True, False])) >> kx.to_list(),
                   {"filtered": 2, "delivered": 5}),
    "buffer until": (lambda: one_to(5) >> kx.buffer(count=2, until=kx.source([0])) >> kx.to_list(),
                     {"filtered": 1, "absorbed": 5, "delivered": 3}),
}


@pytest.mark.parametrize("name", SHAPES)
def test_every_item_ends_once_and_in_the_way_its_nodes_say(name: str, loop: str) -> None:
    """Each id that enters has exactly one fate, on asyncio and trio, and the counts are those of the nodes."""
    make, wanted = SHAPES[name]
    fates, _, failure = fates_of(make(), loop)
    assert failure is None
    assert dict(fates) == wanted


def test_a_gate_that_drops_tells_which_items_it_dropped(loop: str) -> None:
    """Dropped and delivered add up to what entered, and every drop names its gate."""
    fates, events, _ = fates_of(one_to(300) >> kx.backpressure(4, overflow="drop_oldest") >> kx.map(pause)
                                >> kx.to_list(), loop)
    assert fates["dropped"] > 0 and fates["dropped"] + fates["delivered"] == 300
    assert {e["node"] for e in events if e["event"] == "dropped"} == {"into 'pause'"}


def test_an_item_made_of_others_lists_its_parents(loop: str) -> None:
    """A list's id names the ids of the items in it (ruling 2)."""
    _, events, _ = fates_of(one_to(4) >> kx.buffer(count=2) >> kx.map(pause) >> kx.to_list(), loop)
    made = [e for e in events if e["event"] == "entered" and e["id"][0] == "buffer"]
    assert [e["parents"] for e in made] == [(("source", 0, 0), ("source", 0, 1)), (("source", 0, 2), ("source", 0, 3))]


def test_a_piece_of_text_lists_the_items_it_was_cut_from(loop: str) -> None:
    """An item that is in two pieces is a parent of both; one that ended with a piece is not of the next."""
    _, events, _ = fates_of(kx.source([b"abc", b"d", b"ef"]) >> kx.chunk(bytes=2) >> kx.to_list(), loop)
    made = [e["parents"] for e in events if e["event"] == "entered" and e["id"][0] == "chunk"]
    first, second, third = (("source", 0, n) for n in range(3))
    assert made == [(first,), (first, second), (third,)]


def test_a_failed_run_accounts_for_what_it_had_in_hand(loop: str) -> None:
    """The item that raised has failed; what had entered and not arrived is cancelled; nothing is missing."""
    fates, _, failure = fates_of(kx.source([3, 2, 0, 5, 6]) >> kx.map(inverse) >> kx.to_list(), loop)
    assert isinstance(failure, ZeroDivisionError)
    assert dict(fates) == {"delivered": 2, "failed": 1}
    fates, _, failure = fates_of(kx.source([3, 2, 0, 5, 6]) >> kx.map(inverse) >> kx.map(pause) >> kx.to_list(), loop)
    assert isinstance(failure, ZeroDivisionError)
    assert sum(fates.values()) == 3 and fates["failed"] == 1


def test_a_reader_of_a_stream_delivers(loop: str) -> None:
    """What the body of ``stream()`` took is delivered (ruling 2)."""
    async def main() -> Any:
        stream = (one_to(10) >> kx.map(pause)).stream(events=True)
        async with stream as items:
            async for item in items:
                if item == 3:
                    break
        return stream._run.events()

    events = run_virtual(main, loop)
    assert [e["id"][-1] for e in events if e["event"] == "delivered"] == [0, 1]


def test_ids_are_equal_in_two_runs(loop: str) -> None:
    """Ids are positions: a second run of the same graph tells the same story."""
    def story() -> list[Any]:
        events = fates_of(one_to(10) >> kx.flat_map(lambda x: [x]) >> kx.map(pause, concurrency=3) >> kx.to_list(),
                          loop)[1]
        return [(e["event"], e.get("id")) for e in events]

    assert story() == story()


def test_a_run_without_events_carries_no_ids(loop: str) -> None:
    """Without ``events=True`` only what went wrong is told (ruling 15)."""
    async def main() -> Any:
        async with (kx.source(range(3)) >> kx.map(inverse) >> kx.skip_errors() >> kx.to_list()).start() as run:
            pass
        return run.events()

    (told,) = run_virtual(main, loop)
    assert told["event"] == "skipped" and told["node"] == "inverse" and "id" not in told


def test_a_failure_is_of_its_item_though_others_are_at_work(loop: str) -> None:
    """While the call of one item waits, a crew in another task takes its own in hand."""
    async def refused(x: int) -> int:
        await anyio.sleep(0.5)
        raise ValueError(x)

    letters = kx.memory_letters()
    graph = one_to(9) >> kx.map(pause, concurrency=3) >> kx.map(refused) >> kx.dead_letter(letters) >> kx.to_list()
    fates, events, _ = fates_of(graph, loop)

    assert fates == {"dead_letter": 9}
    assert [e["id"][2] for e in events if e["event"] == "dead_letter" and "id" in e] == [*range(9)]
    assert [letter.context["position"][2] for letter in letters.items()] == [*range(9)]

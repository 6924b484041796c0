"""Replay: a letter goes in again at the node that failed, and at no other; its key tells which item it was."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

import kayrx as kx
from kayrx.io.letters_json import OpenJson
from kayrx.io.letters_sqlite import OpenSqlite
from kayrx.runtime.ledger import Ledger
from kayrx.testing import left_behind

STORES: dict[str, Callable[[Path], Any]] = {
    "memory": lambda folder: kx.memory_letters(100),
    "json lines": lambda folder: kx.json_letters(folder / "letters.jsonl"),
    "sqlite": lambda folder: kx.sqlite_letters(folder / "letters.db"),
}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return STORES[request.param](tmp_path)


class Service:
    """A function that fails for items which are not ``known``, and remembers what it was asked."""

    def __init__(self, *known: Any) -> None:
        self.known, self.asked = set(known), []

    def ask(self, x: Any) -> Any:
        self.asked.append(x)
        if x not in self.known:
            raise LookupError(x)
        return x

    async def ask_later(self, x: Any) -> Any:
        await anyio.sleep(0)
        return self.ask(x)

    def seen(self) -> list[Any]:
        asked, self.asked = self.asked, []
        return asked


def of(store: Any) -> list[tuple[Any, ...]]:
    return [(x.item, x.node, x.attempts) for x in store.items()]


WAYS = ["ask", "ask_later"]


@pytest.mark.parametrize("way", WAYS)
def test_a_letter_enters_at_the_node_that_failed(store: Any, way: str) -> None:
    """What stands above is not run again; all below is, with the sink's result; the letter is done."""
    above, service, below = Service(*range(6)), Service(0, 2, 4), Service(*range(60))
    graph = (kx.source(range(6)) >> kx.map(above.ask) >> kx.map(getattr(service, way)).named("service")
             >> kx.retry(2) >> kx.dead_letter(store) >> kx.map(kx.it * 10) >> kx.map(below.ask) >> kx.to_list())
    assert graph.run() == [0, 20, 40]
    assert of(store) == [(1, "service", 2), (3, "service", 2), (5, "service", 2)]
    above.seen(), service.seen(), below.seen()

    service.known |= {1, 3}
    assert graph.replay(store) == (2, 1, 0, 0, ([10, 30],))

    assert (above.seen(), service.seen(), below.seen()) == ([], [1, 3, 5, 5], [10, 30])
    assert of(store) == [(5, "service", 4)]
    assert [x.item for x in store.items(done=True)] == [1, 3]


@pytest.mark.parametrize("way", WAYS)
def test_replaying_twice_is_idempotent(store: Any, way: str) -> None:
    """What is done is not sent in again; what failed again is, and its attempts add up."""
    service = Service()
    graph = kx.source("ab") >> kx.map(getattr(service, way)) >> kx.dead_letter(store)
    graph.run()
    service.known = {"a"}

    assert graph.replay(store)[:3] == (1, 1, 0)
    service.seen()
    assert graph.replay(store)[:3] == (0, 1, 0) and service.seen() == ["b"]
    assert of(store) == [("b", way, 3)]


async def test_a_replay_on_the_running_loop(store: Any, anyio_backend: str) -> None:
    """``await graph.replayed(store)``, for functions whose clients live on this loop."""
    service = Service()
    graph = kx.source("ab") >> kx.map(service.ask_later, concurrency=2) >> kx.dead_letter(store) >> kx.to_list()
    assert await graph == []
    service.known = {"a", "b"}

    with left_behind() as left:
        report = await graph.replayed(store, where=lambda letter: letter.item == "b")
    assert report == (1, 0, 0, 0, (["b"],)) and not left
    assert [x.item for x in store.items()] == ["a"]


def test_where_chooses(store: Any) -> None:
    """By anything that a letter holds; the others stay as they are and are not counted."""
    service = Service()
    graph = kx.source([3, "x", 5]) >> kx.map(service.ask) >> kx.dead_letter(store)
    graph.run()
    service.known = {3, "x", 5}

    assert graph.replay(store, where=lambda x: x.kind == "LookupError" and x.item != "x").done == 2
    assert of(store) == [("x", "ask", 1)]


def test_several_graphs_share_a_store(store: Any) -> None:
    """Each takes its own letters, by its name; so does each unnamed one whose nodes are called otherwise."""
    one, other, third = Service(), Service(), Service()
    first = (kx.source("ab") >> kx.map(one.ask) >> kx.dead_letter(store)).named("first")
    second = (kx.source("ab") >> kx.map(other.ask) >> kx.dead_letter(store)).named("second")
    unnamed = kx.source("ab") >> kx.map(third.ask) >> kx.dead_letter(store)
    for graph in (first, second, unnamed):
        graph.run()
    assert [x.graph for x in store.items()] == [
        "first", "first", "second", "second", *["test_replay.py: source > ask"] * 2]
    for service in (one, other, third):
        service.seen()
    other.known = third.known = {"a", "b"}

    assert second.replay(store) == (2, 0, 0, 4, (None,))
    assert (one.seen(), other.seen()) == ([], ["a", "b"])
    assert unnamed.collect() == ["a", "b"] and unnamed.replay(store).done == 2
    assert first.replay(store)[1:4] == (2, 0, 0)
    assert second.replay(store, graph="first")[2] == 2, "its node is called second.ask: nothing is guessed"


def test_the_inner_node_of_a_unit_is_told(store: Any) -> None:
    """The letter holds the unit's input and re-enters at the unit; ``failed_at`` names the node inside (ruling 28)."""
    service = Service()
    both = kx.unit(kx.map(int) >> kx.map(service.ask), name="both")
    graph = kx.source(["7", "x"]) >> both >> kx.dead_letter(store) >> kx.to_list()
    assert graph.run() == []
    assert [(x.item, x.node, x.failed_at, x.kind) for x in store.items()] == [
        ("7", "both", "both.ask", "LookupError"), ("x", "both", "both.int", "ValueError")]

    service.known = {7}
    assert graph.replay(store) == (1, 1, 0, 0, ([7],))


@pytest.mark.parametrize("way", WAYS)
def test_what_fails_further_down_is_a_letter_of_that_node(store: Any, way: str) -> None:
    """The first letter is done, the new one is of the same item of the same run; one replay sends none in twice."""
    first, second = Service(), Service("b")
    graph = (kx.source("ab") >> kx.map(getattr(first, way)).named("first") >> kx.dead_letter(store)
             >> kx.flat_map(lambda x: [x, x + "!"]) >> kx.map(second.ask) >> kx.dead_letter(store))
    graph.run()
    run = {x.context["run"] for x in store.items()}
    first.known = {"a", "b"}

    assert graph.replay(store)[:3] == (2, 0, 0)
    assert [(x.id.split("/", 1)[1], x.item) for x in store.items()] == [
        ("ask/source/0/0/0", "a"), ("ask/source/0/0/1", "a!"), ("ask/source/0/1/1", "b!")]
    assert {x.id.split("/")[0] for x in store.items()} == run
    second.known |= {"a", "a!", "b!"}
    first.seen()
    assert graph.replay(store)[:3] == (3, 0, 0) and first.seen() == []


def test_what_went_into_another_item_is_done_at_the_end(store: Any) -> None:
    """A buffer holds items until it is full: their letters are not done before the sink has the list."""
    service, lists, down = Service(), [], [True]

    def sink(items: list[Any]) -> None:
        lists.append(items)
        if down and len(lists) == 2:
            raise OSError("sink down")

    graph = kx.source(range(5)) >> kx.map(service.ask) >> kx.dead_letter(store) >> kx.buffer(count=2) >> kx.each(sink)
    graph.run()
    service.known = {0, 1, 2, 3, 4}

    with pytest.raises(OSError, match="sink down"):
        graph.replay(store)
    assert len(list(store.items())) == 5, "at least once: of a list nobody knows which item it failed for"
    lists.clear(), down.clear()
    assert graph.replay(store).done == 5 and lists == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize("way", WAYS)
def test_a_run_that_fails_below_keeps_what_was_not_delivered(store: Any, way: str) -> None:
    """What a sink without guards raises comes out of the replay; what it had taken before is done."""
    service, taken = Service(), []

    def sink(x: int) -> None:
        if x == 2:
            raise OSError("sink down")
        taken.append(x)

    graph = kx.source(range(5)) >> kx.map(getattr(service, way)) >> kx.dead_letter(store) >> kx.each(sink)
    graph.run()
    service.known = set(range(5))

    with pytest.raises(OSError, match="sink down"):
        graph.replay(store)
    assert taken == [0, 1]
    assert [x.item for x in store.items()] == [2, 3, 4]


def test_a_graph_that_wants_no_more_leaves_letters_open(store: Any) -> None:
    """They were not tried; the next replay takes them."""
    service = Service()
    graph = kx.source(range(40)) >> kx.map(service.ask) >> kx.dead_letter(store) >> kx.take(25) >> kx.to_list()
    graph.run()
    service.known = set(range(40))

    assert graph.replay(store) == (25, 0, 15, 0, (list(range(25)),))
    assert graph.replay(store) == (15, 0, 0, 0, (list(range(25, 40)),))


def test_an_item_of_which_only_a_text_was_kept_stays(tmp_path: Path) -> None:
    """It cannot be sent in, and is not lost from sight."""
    store, events = kx.sqlite_letters(tmp_path / "x.db"), []
    service = Service()

    async def main() -> None:
        async with graph.start() as run:
            pass
        events.extend(e["event"] for e in run.events())

    graph = kx.source([object(), "a"]) >> kx.map(service.ask) >> kx.dead_letter(store)
    anyio.run(main)
    assert events.count("unread") == 1
    service.known = {"a"}
    assert graph.replay(store)[:3] == (1, 0, 1)
    assert [x.replayable for x in store.items()] == [False]


# -- keys ----------------------------------------------------------------------------------------

SHAPES: dict[str, Any] = {
    "map": lambda f: kx.map(f),
    "after a filter": lambda f: kx.filter(kx.it % 2 == 0) >> kx.map(f),
    "after an expansion": lambda f: kx.flat_map(lambda x: [x, x + 100]) >> kx.map(f),
    "after two": lambda f: kx.flat_map(lambda x: [x] * 2) >> kx.flat_map(lambda x: [x, x]) >> kx.map(f),
    "in an expansion": lambda f: kx.flat_map(lambda x: [f(x)]),
    "in a unit": lambda f: kx.unit(kx.map(abs) >> kx.flat_map(lambda x: [x, f(x)])),
    "in a tap": lambda f: kx.tap(f),
    "in a scan": lambda f: kx.scan(lambda s, x: s + f(x), 0),
    "after skips": lambda f: kx.skip(3) >> kx.with_index() >> kx.map(lambda x: f(x[1])),
    "behind a gate": lambda f: kx.filter(kx.it != 5) >> kx.backpressure(20, overflow="error") >> kx.map(f),
}


def odd(x: int) -> int:
    if x % 3 == 0:
        raise ValueError(x)
    return x


async def odd_later(x: int) -> int:
    await anyio.sleep(0)
    return odd(x)


@pytest.mark.parametrize("name", SHAPES)
def test_keys_do_not_depend_on_how_a_graph_is_run(name: str) -> None:
    """Chunk, fusion, backend, events, face: the key of an item's letter is the same (law 5)."""
    def keys(run: Callable[[Any], Any]) -> list[tuple[str, Any]]:
        store = kx.memory_letters(100)
        run((kx.source(range(12)) >> SHAPES[name](odd) >> kx.dead_letter(store)).named("g"))
        return sorted((x.id, x.item) for x in store.items())

    async def streamed(graph: Any, **options: Any) -> None:
        async with graph.stream(**options) as items:
            async for _ in items:
                pass

    async def awaited(graph: Any) -> None:
        await graph

    async def iterated(graph: Any) -> None:
        if len(graph.compile().segments) == 1:  # others say that they need a task more
            async for _ in graph:
                pass
        else:
            await graph

    known = keys(lambda g: g.run())
    assert known and len({key for key, _ in known}) == len(known)
    for way in (
        lambda g: g.collect(), lambda g: g.run(chunk=1), lambda g: g.run(fuse=False), lambda g: g.run(events=True),
        lambda g: g.run(backend="trio"), lambda g: anyio.run(awaited, g), lambda g: anyio.run(streamed, g),
        lambda g: anyio.run(iterated, g), lambda g: (g >> kx.map(odd_later) >> kx.skip_errors()).run(),
        lambda g: (g >> kx.map(kx.it + 1) >> kx.map(kx.it + 1)).run(fuse=False, events=True),
    ):
        assert keys(way) == known


@pytest.mark.parametrize("options", [{}, {"concurrency": 4}, {"concurrency": 4, "ordered": False}])
def test_concurrent_calls_know_whose_letter_they_write(options: Any) -> None:
    """Though others suspend in between."""
    async def slow(x: int) -> int:
        await anyio.sleep((7 - x) / 1000)
        return odd(x)

    store = kx.memory_letters(100)
    for fn in (slow, odd):
        place = {"on": kx.threads(3)} if fn is odd and options else options if fn is slow else {}
        graph = (kx.source(range(7)) >> kx.map(fn, **place).named("f") >> kx.dead_letter(store)).named("g")
        graph.run()
        assert sorted((x.id, x.item) for x in store.items()) == [(f"g/g.f/g.source/0/{n}", n) for n in (0, 3, 6)]


def test_a_named_graph_over_a_replayable_source_has_stable_keys(store: Any) -> None:
    """A second run over the same items writes the same letters again; one that was done is open again (ruling 16)."""
    service = Service(1)
    graph = (kx.source([0, 1, 2]) >> kx.map(service.ask) >> kx.dead_letter(store)).named("g")
    for _ in range(2):
        graph.run()
        assert [x.id for x in store.items()] == ["g/g.ask/g.source/0/0", "g/g.ask/g.source/0/2"]
        store.mark_done("g/g.ask/g.source/0/0")


def test_an_equal_key_with_another_item_is_the_items_failure(store: Any) -> None:
    """Never a silent skip; the remedy is said (ruling 16)."""
    def graph(items: Any) -> Any:
        return (kx.source(items) >> kx.map(odd) >> kx.dead_letter(store)).named("g")

    graph([3]).run()
    with pytest.raises(kx.RunError, match=r"with another item.*Name the graph anew"):
        graph([6]).run()
    assert [x.item for x in store.items()] == [3]


@pytest.mark.parametrize("source", [lambda: kx.source(lambda: [3]), lambda: kx.source(iter([3]))])
def test_other_letters_are_keyed_by_the_run(store: Any, source: Any) -> None:
    """Where the same run cannot be had again two runs write two letters, also of equal items."""
    for _ in range(2):
        (source() >> kx.map(odd) >> kx.dead_letter(store)).named("g").run()
    one, other = store.items()
    assert one.id != other.id and one.item == other.item == 3
    assert one.id.split("/")[0] == one.context["run"] and one.context["position"] == [one.id.split("/")[2], 0, 0]


def test_the_letters_of_a_graph_without_a_name_are_keyed_by_the_run(store: Any) -> None:
    """Two such graphs may look alike, and neither's letter may replace the other's."""
    for _ in range(2):
        (kx.source([3]) >> kx.map(odd) >> kx.dead_letter(store)).run()

    one, other = store.items()
    assert one.id != other.id and one.id == f"{one.context['run']}/odd/source/0/0"


def test_ids_are_carried_only_where_a_letter_needs_them() -> None:
    """A list asks for none; a store where the source's place tells asks for none; `explain` says so (ruling 15)."""
    store = kx.memory_letters(9)
    plain, deep = kx.source([1]) >> kx.map(odd), kx.source([1]) >> kx.flat_map(lambda x: [x]) >> kx.map(odd)

    assert "ids:" not in (plain >> kx.dead_letter([])).explain()
    assert "ids:" not in (deep >> kx.dead_letter([])).explain()
    assert "ids:" not in (plain >> kx.dead_letter(store)).explain()
    assert "costs:\n  ids: an id is carried with every item" in (deep >> kx.dead_letter(store)).explain()
    assert "ids: an id" in (kx.source([1]) >> kx.map(odd_later) >> kx.dead_letter(store)).explain()


async def test_a_run_with_letters_keeps_no_log_of_its_items() -> None:
    """Ids alone: memory does not grow with the run, unless events are asked for."""
    graph = kx.source(range(50)) >> kx.map(odd_later) >> kx.dead_letter(kx.memory_letters(99)) >> kx.to_list()
    async with graph.start() as run:
        pass
    assert {e["event"] for e in run.events()} == {"dead_letter"}
    ledger = run._running.run.ledger
    assert ledger.exact and not ledger.alive
    async with graph.start(events=True) as told:
        pass
    assert {"entered", "delivered"} < {e["event"] for e in told.events()}


@pytest.mark.parametrize("face", ["observable", "subscribe", "call", "publisher", "operator"])
def test_a_store_on_disk_serves_every_face(face: str, tmp_path: Path) -> None:
    """Where no run opens it, it is opened for the one letter."""
    import reactivex

    store = kx.sqlite_letters(tmp_path / "x.db")
    open_ = kx.map(odd) >> kx.dead_letter(store)
    graph, out = kx.source([1, 3]) >> open_, []
    if face == "observable":
        graph.to_observable().subscribe(out.append)
    elif face == "subscribe":
        (reactivex.of(1, 3) >> open_ >> kx.each(out.append)).run()
    elif face == "call":
        out = open_(1) + open_(3)
    elif face == "operator":
        reactivex.of(1, 3).pipe(open_.operator()).subscribe(out.append)
    else:
        graph.publisher().subscribe(Reader(out))
    assert out == [1] and [x.item for x in store.items()] == [3]


class Reader:
    def __init__(self, out: list[Any]) -> None:
        self.out = out

    def on_subscribe(self, subscription: Any) -> None:
        subscription.request(10)

    def on_next(self, item: Any) -> None:
        self.out.append(item)

    def on_error(self, error: BaseException) -> None:
        raise error

    def on_complete(self) -> None: ...


# -- where in a graph ----------------------------------------------------------------------------


def replayed(make: Callable[[Any, Any], Any]) -> tuple[Any, Any]:
    """The first run's result, and the report of a replay of what failed in it; the service knows 1 and then all."""
    store, service = kx.memory_letters(99), Service(1)
    graph = make(service.ask, kx.dead_letter(store))
    before = graph.run()
    service.known |= set(range(99))
    return before, graph.replay(store)


def test_a_letter_enters_a_branch_that_ends_in_a_sink() -> None:
    """The other branches get nothing."""
    before, report = replayed(lambda f, letters: kx.source([1, 2]) >> kx.broadcast(
        kx.map(f) >> letters >> kx.to_list(), kx.map(kx.it * 10) >> kx.to_list()))
    assert before == ([1], [10, 20]) and report == (1, 0, 0, 0, ([2],))


@pytest.mark.parametrize("join", [
    kx.merge, kx.concat, lambda: kx.merge_prioritized(priorities=(2, 1)), kx.race])
def test_a_letter_goes_through_a_join_that_takes_items_one_by_one(join: Any) -> None:
    """As if its branch were alone."""
    before, report = replayed(lambda f, letters: kx.source([1, 2]) >> kx.broadcast(
        kx.map(f) >> letters >> kx.map(str), kx.map(kx.it * 10) >> kx.map(str)) >> join() >> kx.map(len)
        >> kx.to_list())
    assert report == (1, 0, 0, 0, ([1],)) and len(before) in (1, 3)


def test_a_letter_enters_a_source_of_a_merge() -> None:
    """Nothing else is read."""
    before, report = replayed(lambda f, letters: kx.merge(
        kx.source([1, 2]) >> kx.map(f) >> letters, kx.source([7])) >> kx.to_list())
    assert sorted(before) == [1, 7] and report == (1, 0, 0, 0, ([2],))


def test_a_letter_above_a_share_reaches_all_that_listen() -> None:
    """Also through a join that needs them all."""
    def make(f: Any, letters: Any) -> Any:
        shared = kx.source([1, 2, 3]) >> kx.map(f) >> letters >> kx.share()
        return kx.zip(shared >> kx.map(kx.it * 10), shared >> kx.map(str)) >> kx.to_list()

    assert replayed(make) == ([(10, "1")], (2, 0, 0, 0, ([(20, "2"), (30, "3")],)))


def test_a_letter_enters_above_a_fan_out() -> None:
    """All branches get it, and their joins; two in one another as well."""
    before, report = replayed(lambda f, letters: kx.source([1, 2]) >> kx.broadcast(
        kx.map(f) >> letters >> kx.broadcast(kx.map(kx.it * 10), kx.map(kx.it * 100)), kx.filter(lambda x: False))
        >> kx.merge() >> kx.to_list())
    assert sorted(before) == [10, 100] and report.done == 1 and sorted(report.results[0]) == [20, 200]


def test_a_letter_enters_a_side() -> None:
    """And nothing of it comes back to the stream."""
    out: list[Any] = []
    _, report = replayed(lambda f, letters: kx.source([1, 2]) >> kx.also_to(kx.map(f) >> letters >> kx.each(out.append))
                         >> kx.to_list())
    assert report == (1, 0, 0, 0, (None,)) and out == [1, 2]


def test_a_letter_enters_inside_a_unit_without_guards() -> None:
    """Such a unit is only a name."""
    _, report = replayed(lambda f, letters: kx.source([1, 2]) >> kx.map(abs) >> kx.unit(
        kx.map(f) >> letters >> kx.map(kx.it + 1), name="u") >> kx.map(str) >> kx.to_list())
    assert report == (1, 0, 0, 0, (["3"],))


@pytest.mark.parametrize("way", WAYS)
def test_a_letter_enters_a_loop_where_it_failed_and_goes_on_round(store: Any, way: str) -> None:
    """In the turn that it was in, with what is above in the body left out; what fails in a later turn, in an inner
    loop or below is a letter of its own."""
    above, service, below = Service(*range(60)), Service(1, 3), Service()
    inner = kx.loop(kx.map(getattr(service, way)).named("f") >> kx.dead_letter(store) >> kx.map(kx.it + 1),
                    until=kx.it % 2 == 1)
    graph = (kx.source([1]) >> kx.map(kx.it * 1).named("f")
             >> kx.loop(kx.map(above.ask) >> inner >> kx.map(kx.it + 0), until=kx.it > 6)
             >> kx.map(below.ask).named("f") >> kx.dead_letter(store) >> kx.to_list())
    assert graph.run() == []
    failed = [(2, "f-2"), (4, "f-2"), (5, "f-2"), (6, "f-2"), (7, "f-3")]
    for (item, node), results in zip(failed, [[[]], [[]], [[]], [[]], [[7]]], strict=True):
        assert of(store) == [(item, node, 1)]
        assert graph.replay(store) == (0, 1, 0, 0, ([],)) and of(store) == [(item, node, 2)]
        above.seen()
        service.known |= {item}
        below.known |= {item} - {6}
        assert graph.replay(store) == (1, 0, 0, 0, tuple(results))
        assert item not in above.seen()

    assert of(store) == [] and len(list(store.items(done=True))) == 5


def test_a_letter_enters_a_side_of_a_loop() -> None:
    """And nothing of it goes round."""
    out: list[Any] = []
    before, report = replayed(lambda f, letters: kx.source([1]) >> kx.loop(
        kx.also_to(kx.map(f) >> letters >> kx.each(out.append)) >> kx.map(kx.it * 2), until=kx.it > 3) >> kx.to_list())
    assert before == [4] and report == (1, 0, 0, 0, (None,)) and out == [1, 2]


@pytest.mark.parametrize("way", WAYS)
def test_letters_from_inside_a_group_have_keys_of_their_own(way: str) -> None:
    """Also where one item gives several; none is sent into another node of that name."""
    store, service, outer = kx.memory_letters(99), Service(), Service(1, 2)
    body = kx.flat_map(lambda x: [x, x]) >> kx.map(getattr(service, way)).named("f") >> kx.dead_letter(store)
    graph = (kx.source([1, 2]) >> kx.map(getattr(outer, way)).named("f") >> kx.dead_letter(store)
             >> kx.flat_map(lambda x: [x, x]) >> kx.group_by(kx.it, body)).named("g")
    for _ in range(2):
        graph.run()
    outer.seen()

    assert [x.node for x in store.items()] == ["g.group_by.f"] * 16
    service.seen()
    assert graph.replay(store)[:3] == (0, 16, 0) and outer.seen() == []
    assert service.seen() == [1, 1, 1, 1, 2, 2, 2, 2] * 2 and {x.attempts for x in store.items()} == {2}


def tens(x: Any) -> Any:
    return x * 10


INSIDES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a group": (lambda rest: kx.group_by(kx.it, rest), "g.group_by.f"),
    "a window": (lambda rest: kx.window(2, rest), "g.window.f"),
    "a window of time": (lambda rest: kx.window(9, rest, seconds=9), "g.window-2.f"),
    "a group in a group": (lambda rest: kx.group_by(kx.it, kx.map(kx.it) >> kx.group_by(kx.it, rest)),
                           "g.group_by.group_by.f"),
    "a unit in a window": (lambda rest: kx.window(2, kx.unit(rest, name="u") >> kx.skip_errors(OSError)),
                           "g.window.u.f"),
    "a guarded unit": (lambda rest: kx.unit(rest, name="u") >> kx.retry(3, on=OSError), "g.u.f"),
    "a unit in a unit": (lambda rest: kx.unit(kx.map(kx.it) >> kx.unit(rest, name="v") >> kx.retry(2, on=OSError),
                                              name="u") >> kx.retry(3, on=OSError) >> kx.map(kx.it), "g.u.v.f"),
    "a fallback": (lambda rest: kx.map(tens).named("m") >> kx.tap(Service().ask) >> kx.fallback(rest), "g.ask.f"),
    "the second fallback": (lambda rest: kx.concat_map(Service().ask) >> kx.fallback(kx.map(Service().ask), rest)
                            >> kx.retry(2, on=OSError), "g.ask.f"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("inside", INSIDES)
def test_a_letter_enters_inside_and_goes_through_the_rest(inside: str, way: str,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the body, as a group of its own, of a guarded unit, of a graph of a fallback; then through all below.  One
    that fails again is the same letter; one that fails further down is a letter of that node, which can be sent in."""
    make, node = INSIDES[inside]
    store = kx.memory_letters(99)
    told: list[Any] = []
    tell = Ledger.tell
    monkeypatch.setattr(Ledger, "tell", lambda self, what, **facts: (told.append(what), tell(self, what, **facts))[1])
    service, further, above = Service(), Service(), Service(1, 2, 3)
    rest = (kx.map(kx.it * 1) >> kx.map(getattr(service, way)).named("f") >> kx.dead_letter(store)
            >> kx.map(kx.it + 1) >> kx.map(getattr(further, way)).named("h") >> kx.dead_letter(store))
    graph = (kx.source([1, 2, 3]) >> kx.tap(above.ask) >> make(rest) >> kx.map(str)).named("g") >> kx.to_list()
    factor = 10 if inside == "a fallback" else 1
    assert graph.run() == [] and [x.node for x in store.items()] == [node] * 3
    assert not [told for told in graph.check() if "cannot replay" in told or "stands inside" in told]
    items = [x.item for x in store.items()]
    assert items == [factor, 2 * factor, 3 * factor]

    above.seen(), service.seen(), told.clear()
    service.known |= {items[0], items[2]}
    further.known.add(items[2] + 1)
    assert graph.replay(store) == (2, 1, 0, 0, ([str(items[2] + 1)],))
    assert service.seen() == items and above.seen() == []
    assert [(x.item, x.node, x.attempts) for x in store.items()] == [
        (items[1], node, 2), (items[0] + 1, node[:-1] + "h", 1)]
    assert told.count("fallback") == 3 * ("fallback" in inside)  # degraded results
    service.known.add(items[1])
    further.known |= {items[0] + 1, items[1] + 1}
    assert graph.replay(store) == (2, 0, 0, 0, ([str(items[0] + 1)], [str(items[1] + 1)]))
    assert of(store) == [] and service.seen() == [items[1]]


def test_nodes_of_one_name_inside_are_told_apart() -> None:
    """In a body, in a unit, and in two graphs of one fallback."""
    def replays(make: Callable[[Any, Any], Any], items: list[int], filed: list[str], out: list[Any]) -> None:
        store, service = kx.memory_letters(99), Service(1)
        one, two = (kx.map(service.ask).named("f") >> kx.dead_letter(store) >> kx.map(kx.it + n) for n in (10, 20))
        graph = kx.source(items) >> make(one, two) >> kx.to_list()
        assert graph.run() == [] and [x.node for x in store.items()] == filed
        service.known |= set(range(99))
        assert graph.replay(store) == (2, 0, 0, 0, tuple(out))

    replays(lambda one, two: kx.window(9, one >> two), [0, 1], ["window.f", "window.f-2"], [[31], [30]])
    replays(lambda one, two: kx.unit(one >> two, name="u") >> kx.retry(2), [0, 1], ["u.f", "u.f-2"], [[31], [30]])
    replays(lambda one, two: kx.tap(lambda x: 1 / 0).named("m") >> kx.fallback(kx.filter(lambda x: x / x) >> two, one),
            [0, 2], ["m.f-2", "m.f"], [[10], [22]])


@pytest.mark.parametrize("way", WAYS)
def test_the_name_of_a_graph_is_that_of_its_branches(way: str, store: Any) -> None:
    """A letter out of a branch or a loop is found again by the second run, and is the named graph's in a replay."""
    service = Service(1)
    guarded = kx.map(getattr(service, way)).named("f") >> kx.dead_letter(store)
    graph = kx.source([1, 2]) >> kx.broadcast(guarded, kx.loop(guarded, until=lambda x: True)) >> kx.merge()
    graph = graph.named("g")
    for _ in range(2):
        graph.collect()
    assert sorted((x.graph, x.node) for x in store.items()) == [("g", "f"), ("g", "f-2")]
    assert not [warning for warning in graph.check() if "without a name" in warning]
    service.known.add(2)
    assert graph.replay(store, graph="g")[:4] == (2, 0, 0, 0)


def test_nodes_of_one_name_are_told_apart() -> None:
    """By their place in the written graph, wherever the cuts are."""
    store, service = kx.memory_letters(99), Service(1)
    failing = kx.map(service.ask_later).named("f")
    graph = kx.source([1, 2]) >> kx.broadcast(
        kx.map(service.ask_later).named("g") >> kx.skip_errors() >> failing >> kx.each(print),
        failing >> kx.dead_letter(store) >> kx.map(kx.it * 10) >> kx.to_list())
    assert graph.run() == (None, [10])
    assert [x.node for x in store.items()] == ["f-2"]
    service.known |= {2}
    assert graph.replay(store) == (1, 0, 0, 0, ([20],))


@pytest.mark.parametrize(("make", "why"), [
    (lambda f, letters: kx.source([1, 2]) >> [kx.map(f) >> letters, kx.map(str)] >> kx.zip() >> kx.to_list(),
     r"'zip'.* joins it with items of other branches.*guard the node after the join"),
    (lambda f, letters: kx.source([5]) >> kx.with_latest_from(
        kx.source([1, 2]) >> kx.map(f) >> letters) >> kx.to_list(),
     "only steers"),
], ids=["zip", "beside"])
def test_a_node_into_which_nothing_can_be_sent_is_named(make: Any, why: str) -> None:
    """Before anything is run; the letters stay."""
    with pytest.raises(kx.GraphError, match=f"cannot replay into 'ask' .map.*{why}"):
        replayed(make)


def test_a_letter_of_a_source_says_how_to_go_on(store: Any) -> None:
    """It holds no item: the stream itself has failed."""
    def broken() -> Iterator[int]:
        yield 1
        raise OSError

    graph = kx.source(broken) >> kx.dead_letter(store) >> kx.to_list()
    assert graph.run() == [1]
    with pytest.raises(kx.GraphError, match=r"a source takes no items; run the graph again.*mark_done"):
        graph.replay(store)


def test_what_cannot_be_replayed_is_refused_at_once(tmp_path: Path) -> None:
    """A graph without letters, a store that only appends, one whose resource does."""
    graph = kx.source([1]) >> kx.map(odd) >> kx.dead_letter([])
    with pytest.raises(kx.GraphError, match=r"list cannot be replayed from.*memory_letters"):
        graph.replay([])
    with pytest.raises(kx.GraphError, match=r"has no items\(\)"):
        graph.replay(kx.resource(list))
    with pytest.raises(kx.GraphError, match="no node of this graph has a dead_letter"):
        (kx.source([1]) >> kx.map(odd)).replay(kx.memory_letters(1))
    with pytest.raises(kx.GraphError, match="unknown option 'wher'"):
        graph.replay(kx.memory_letters(1), wher=1)


# -- stores at work ------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "kind"), [(kx.sqlite_letters, OpenSqlite), (kx.json_letters, OpenJson)])
async def test_the_loop_is_never_blocked_by_a_store(make: Any, kind: Any, tmp_path: Path, anyio_backend: str,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """On a loop it is opened, written, read, marked and closed in one worker thread, which ends with the run."""
    where: dict[str, set[threading.Thread]] = {}
    for name in ("__init__", "append", "items", "mark_done", "close"):
        def noted(*args: Any, _name: str = name, _real: Any = getattr(kind, name)) -> Any:
            where.setdefault(_name, set()).add(threading.current_thread())
            return _real(*args)
        monkeypatch.setattr(kind, name, noted)
    service, store = Service(), make(tmp_path / "letters")
    graph = kx.source([1, 2]) >> kx.map(service.ask_later) >> kx.dead_letter(store)

    with left_behind() as left:
        await graph
        first, where = where, {}
        service.known = {1, 2}
        assert (await graph.replayed(store)).done == 2
    assert not left
    assert set(first) == {"__init__", "append", "close"} and len(set().union(*first.values())) == 1
    assert set(where) == {"__init__", "items", "mark_done", "close"} and len(set().union(*where.values())) == 1
    assert threading.main_thread() not in set().union(*first.values(), *where.values())


async def test_a_store_is_opened_once_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal stores are one, however many guards write to them."""
    opened: list[Any] = []
    monkeypatch.setattr(OpenSqlite, "prepare", lambda self, real=OpenSqlite.prepare: (opened.append(self), real(self)))
    guards = [kx.dead_letter(kx.sqlite_letters(tmp_path / "x.db")) for _ in range(2)]
    graph = kx.source([1, 2, 3]) >> kx.map(odd) >> guards[0] >> kx.map(odd_later) >> guards[1]

    await graph
    graph.run()
    assert len(opened) == 2


async def test_a_letter_under_way_is_written_though_the_run_is_cancelled(tmp_path: Path, anyio_backend: str,
                                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole or not at all, and nothing is left of the run."""
    inside, go_on = threading.Event(), threading.Event()

    def slow(self: Any, letter: Any, real: Any = OpenSqlite.append) -> Any:
        inside.set()
        assert go_on.wait(10)
        return real(self, letter)

    monkeypatch.setattr(OpenSqlite, "append", slow)
    store = kx.sqlite_letters(tmp_path / "x.db")
    with left_behind() as left:
        async with (kx.source([3]) >> kx.map(odd_later) >> kx.dead_letter(store)).start() as run:
            await anyio.to_thread.run_sync(inside.wait)
            async with anyio.create_task_group() as group:
                group.start_soon(run.cancel)
                await anyio.sleep(0.01)
                go_on.set()
    assert not left and [x.item for x in store.items()] == [3]


class Mine:
    """The least store that can be replayed from, with async writing."""

    def __init__(self) -> None:
        self.kept: dict[str, kx.Letter] = {}

    async def append(self, letter: kx.Letter) -> None:
        await anyio.sleep(0)
        self.kept[letter.id] = letter

    def items(self, done: bool | None = False) -> list[kx.Letter]:
        return [] if done else list(self.kept.values())

    async def mark_done(self, *ids: str) -> None:
        for key in ids:
            del self.kept[key]

    def close(self) -> None: ...


async def test_a_store_of_ones_own_is_four_methods(anyio_backend: str) -> None:
    """Three of them sync or async, as a value or as a resource."""
    mine, service = Mine(), Service()
    for store in (mine, kx.resource(lambda: mine)):
        service.known = set()
        graph = kx.source([1, 2]) >> kx.map(service.ask_later) >> kx.dead_letter(store)
        await graph
        service.known = {1}
        assert (await graph.replayed(store))[:3] == (1, 1, 0)
        assert [(x.item, x.attempts) for x in mine.kept.values()] == [(2, 2)]
        mine.kept.clear()

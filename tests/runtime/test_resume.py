"""Output already sent: ``resume=`` of retry and fallback, the `Retract` marker, and what a consumer makes of both."""

from __future__ import annotations

import gzip
import io
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import pytest
from hypothesis import given, strategies as st

import kayrx as kx
from kayrx.testing import run_virtual

Virtual = Callable[[Any], Any]
MODES = ("restart", "skip_prefix", "continue")


class Answer:
    """A unit that gives ``text``, and fails before piece ``n`` for each n of ``fails``, an attempt each."""

    def __init__(self, text: str, fails: list[int]) -> None:
        self.text, self.fails, self.calls = text, [*fails], list[Any]()

    def pieces(self, item: Any, sent: list[str] | None = None) -> Iterator[str]:
        self.calls.append(sent if sent is None else [*sent])
        fails = self.fails.pop(0) if self.fails else len(self.text) + 1
        for number, piece in enumerate([*self.text, None]):
            if number == fails:
                raise OSError(f"before {number}")
            if piece is not None and number >= len(sent or ()):
                yield piece

    def continued(self, item: Any, sent: list[str]) -> Iterator[str]:
        return self.pieces(item, sent)

    async def later(self, item: Any) -> AsyncIterator[str]:
        for piece in self.pieces(item):
            await anyio.sleep(1)
            yield piece

    async def continued_later(self, item: Any, sent: list[str]) -> AsyncIterator[str]:
        for piece in self.pieces(item, sent):
            await anyio.sleep(1)
            yield piece


def read(items: list[Any]) -> str:
    """What a consumer makes of a stream of text that knows the marker."""
    held: list[Any] = []
    for item in items:
        if isinstance(item, kx.Retract):
            assert item.count <= len(held)
            del held[len(held) - item.count:]
        else:
            held.append(item)
    return "".join(held)


def unit_of(answer: Answer, kind: str, mode: str) -> Any:
    match kind:
        case "concat_map":
            return kx.concat_map(answer.continued if mode == "continue" else answer.pieces)
        case "waits":
            return kx.concat_map(answer.continued_later if mode == "continue" else answer.later)
        case "unit":
            return kx.unit(kx.flat_map(answer.pieces) >> kx.map(kx.it))
    raise AssertionError(kind)


@given(text=st.text("abc", max_size=6), mode=st.sampled_from(MODES),
       kind=st.sampled_from(["concat_map", "waits", "unit"]), fails=st.lists(st.integers(0, 6), max_size=4),
       verify=st.booleans(), other=st.booleans())
def test_for_every_failure_the_consumer_has_exactly_the_text(text: str, mode: Any, kind: str, fails: list[int],
                                                             verify: bool, other: bool) -> None:
    """Wherever the attempts fail, before the first piece, in between, and after the last; for several items; with
    a retry, and with a fallback to the same answer behind it."""
    if kind == "unit" and mode == "continue":
        mode = "restart"
    fails = [min(n, len(text)) for n in fails]
    one, two = Answer(text, fails), Answer(text, [])
    verify = verify and mode == "skip_prefix"
    tries = max(1, len(fails)) if other else len(fails) + 1
    guards = kx.retry(tries, resume=mode, verify=verify)
    if other:
        last = two.continued if mode == "continue" else two.pieces
        guards = guards >> kx.fallback(last, resume=mode, verify=verify)
    graph = kx.source(["x"]) >> unit_of(one, kind, mode) >> guards
    settled = kx.source(["x", "y"]) >> unit_of(Answer(text, fails), kind, mode) >> guards >> kx.settled()

    def run(what: Any) -> list[Any]:
        async def main() -> Any:
            return await (what >> kx.to_list())
        return run_virtual(main) if kind == "waits" else what.collect()  # type: ignore[no-any-return]

    items = run(graph)
    assert read(items) == text
    if mode != "restart":
        assert "".join(items) == text  # nothing was sent twice
    assert "".join(run(settled)) == text * 2
    if mode == "continue" and kind != "unit" and one.calls:
        assert one.calls[0] == [] and one.calls == sorted(one.calls, key=len)


@pytest.mark.parametrize("at", range(5))
@pytest.mark.parametrize("mode", ["before_first", *MODES])
def test_each_mode_at_each_point(mode: Any, at: int, backend: str) -> None:
    """What leaves, to the letter; before_first gives up where something was sent."""
    answer, seen = Answer("abcd", [at]), list[Any]()
    unit = kx.concat_map(answer.continued if mode == "continue" else answer.pieces).named("answer")
    graph = kx.source(["x"]) >> unit >> kx.retry(2, resume=mode) >> kx.sink(seen)

    if mode == "before_first" and at:
        with pytest.raises(OSError, match=f"before {at}"):
            graph.run(backend=backend)
        assert seen == [*"abcd"[:at]]
        return
    graph.run(backend=backend)
    mark = [kx.Retract(at, "answer", 1)] if mode == "restart" and at else []
    assert seen == ([*"abcd"[:at], *mark, *"abcd"] if mark else [*"abcd"])
    if mode == "continue":
        assert answer.calls == [[], [*"abcd"[:at]]]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("waits", [False, True])
def test_a_source_may_be_resumed_without_a_cursor(mode: Any, waits: bool, virtual: Virtual) -> None:
    """``connect(sent)`` continues; the other modes open it anew."""
    answer = Answer("abcd", [2, 3])

    def connect(*sent: Any) -> Any:
        return (answer.later if waits else answer.pieces)(None, *sent)

    def connect_continued(sent: list[str]) -> Any:
        return (answer.continued_later if waits else answer.continued)(None, sent)

    async def later(*sent: Any) -> AsyncIterator[Any]:
        async for x in (connect_continued if mode == "continue" else connect)(*sent):
            yield x

    opened = later if waits else connect_continued if mode == "continue" else connect
    items = virtual(kx.source(opened) >> kx.retry(3, resume=mode) >> kx.to_list())
    assert read(items) == "abcd" and (mode == "restart") == any(isinstance(x, kx.Retract) for x in items)


def test_a_fallback_resumes_as_well(backend: str) -> None:
    """It takes back, leaves out, or goes on from what the unit and the alternatives before it have sent."""
    def other(text: str, fails: int = 99) -> Any:
        def pieces(x: str, sent: Any = ()) -> Iterator[str]:
            for number, piece in enumerate(text):
                if number == fails:
                    raise OSError
                if number >= len(sent):
                    yield piece
        return pieces

    def out(guard: Any) -> list[Any]:
        unit = kx.concat_map(Answer("abcd", [2]).pieces).named("u")
        return (kx.source(["x"]) >> unit >> guard).collect(backend=backend)  # type: ignore[no-any-return]

    assert out(kx.fallback(other("xyz"), resume="restart")) == ["a", "b", kx.Retract(2, "u", 1), *"xyz"]
    assert out(kx.fallback(other("xyz", 1), "v", resume="restart")) == [
        "a", "b", kx.Retract(2, "u", 1), "x", kx.Retract(1, "u", 2), "v"]
    assert out(kx.fallback(other("xyz"), resume="skip_prefix")) == [*"abz"]
    assert out(kx.fallback(other("xyz"), resume="continue")) == [*"abz"]
    assert out(kx.fallback(kx.flat_map(other("xy")), resume="restart")) == ["a", "b", kx.Retract(2, "u", 1), "x", "y"]


def test_guards_inside_and_outside_resume_each_their_own(backend: str) -> None:
    """An outer guard knows what an inner one has taken back."""
    unit = kx.concat_map(Answer("abcd", [1, 3, 2, 4]).pieces)
    both = kx.retry(2, resume="restart") >> kx.retry(3, resume="skip_prefix")
    items = (kx.source(["x"]) >> unit >> both).collect(backend=backend)
    assert read(items) == "abcd" and "".join(x for x in items if isinstance(x, str)) == "aabcd"

    unit = kx.concat_map(Answer("abcd", [1, 3, 2, 4]).pieces)
    items = (kx.source(["x"]) >> unit >> kx.retry(2, resume="skip_prefix") >> kx.retry(3, resume="restart")).collect(
        backend=backend)
    assert read(items) == "abcd" and [x.count for x in items if isinstance(x, kx.Retract)] == [3, 4]

    answer = Answer("abcd", [1, 2, 3])
    both = kx.retry(2, resume="continue") >> kx.circuit_breaker(9) >> kx.retry(2, resume="continue")
    assert (kx.source(["x"]) >> kx.concat_map(answer.continued) >> both).collect(backend=backend) == [*"abcd"]
    assert answer.calls == [[], ["a"], ["a", "b"], ["a", "b", "c"]]


@pytest.mark.parametrize("mode", ["skip_prefix", "verify"])
def test_another_answer_than_before_is_not_hidden(mode: str, backend: str) -> None:
    """A second attempt that gives less than was sent, or with ``verify=True`` something else, is a RunError."""
    texts = iter(["abcd", "ax" if mode == "verify" else "a"])

    def pieces(x: str) -> Iterator[str]:
        text = next(texts)
        yield from text[:3]
        if text == "abcd":
            raise OSError

    verify = mode == "verify"
    graph = kx.source(["x"]) >> kx.concat_map(pieces) >> kx.retry(5, resume="skip_prefix", verify=verify)
    with pytest.raises(kx.RunError, match="another output 2" if verify else "gave 1 outputs.*3 had been sent"):
        graph.collect(backend=backend)


# -- the marker on its way -------------------------------------------------------------------------


async def upper(x: str) -> str:
    await anyio.sleep(1)
    return x.upper()


SEEN: list[Any] = []
PICKLED = kx.memory_checkpoints(codec=kx.pickle_codec)


@pytest.mark.parametrize("below", [
    kx.map(str.upper), kx.map(kx.it + "") >> kx.map(upper), kx.map(upper, concurrency=3),
    kx.tap(SEEN.append) >> str.upper,
    kx.map(str.upper) >> kx.retry(2) >> kx.fallback("?"), kx.tap(str.upper) >> kx.retry(2) >> kx.map(str.upper),
    kx.backpressure(2) >> kx.map(str.upper), kx.prefetch(2) >> kx.map(upper) >> kx.timeout(9),
    kx.map(str.upper, on=kx.threads(1)), kx.share() >> kx.map(str.upper), kx.also_to(kx.to_list()) >> kx.map(upper),
    kx.timestamp() >> kx.map(lambda x: x.value.upper()), kx.delay(1) >> kx.rate_limit(9) >> kx.map(str.upper),
    kx.filter(str.islower) >> kx.map(str.upper), kx.checkpoint(PICKLED) >> kx.map(str.upper),
], ids=range(15))
def test_what_gives_one_for_one_lets_the_marker_by(below: Any, loop: str) -> None:
    """map and tap never see it, whatever runs them; gates and branches carry it in its place."""
    SEEN.clear()
    unit = kx.concat_map(Answer("abc", [2]).pieces).named("u")
    graph = kx.source(["x"]) >> unit >> kx.retry(2, resume="restart") >> below >> kx.to_list()

    async def main() -> Any:
        return await graph

    assert run_virtual(main, loop) == ["A", "B", kx.Retract(2, "u", 1), "A", "B", "C"]
    assert not any(isinstance(x, kx.Retract) for x in SEEN)


@pytest.mark.parametrize(("below", "says"), [
    (kx.skip(1), r"'skip' \(skip\).*left out.*kx\.settled\(\) before it, or put it inside the"),
    (kx.rate_limit(9, key=str), "rate_limit"),
    (kx.flat_map(str), "flat_map"), (kx.take(3), "take"), (kx.scan(str.__add__), "scan"), (kx.buffer(2), "buffer"),
    (kx.map(upper, concurrency=2, ordered=False), "upper"), (kx.backpressure(2, overflow="latest"), "backpressure"),
    (kx.map(str) >> kx.skip_errors(), "'skip_errors'.*may drop an item"), (kx.each(str) >> kx.dead_letter([]), "drop"),
    (kx.distinct(), "distinct"), (kx.wire_tap(kx.to_list()), "wire_tap"), (kx.chunk(2, by="grapheme"), "chunk"),
    (kx.sink(sys.stdout), "cannot take back: what was shown"),
    (kx.concat_map(str) >> kx.retry(2, resume="restart"), "left out"),
    (kx.take_until(kx.source([1])), "take_until"), (kx.window(2, kx.map(str)), "window")], ids=range(17))
def test_what_would_lose_count_is_refused(below: Any, says: str) -> None:
    """CompileError, with settled() as the remedy, which then stands."""
    upstream = kx.source(["x"]) >> kx.concat_map(str) >> kx.retry(2, resume="restart")
    with pytest.raises(kx.CompileError, match=says):
        (upstream >> below).compile()
    if says != "left out":
        (upstream >> kx.settled() >> below).compile()


@given(text=st.text("aB", max_size=6), fails=st.lists(st.integers(0, 6), max_size=3), guarded=st.booleans(),
       waits=st.booleans())
def test_a_filter_takes_back_what_has_passed_of_it(text: str, fails: list[int], guarded: bool, waits: bool) -> None:
    """A marker behind it counts the items behind it, and there is none for nothing; also guarded, in a row, and where
    the text differs from attempt to attempt."""
    calls = iter(range(99))

    async def lower(x: str) -> bool:
        return x.islower()

    def pieces(x: Any) -> Iterator[str]:
        attempt = next(calls)
        for number, piece in enumerate(text):
            if number == (fails[attempt] if attempt < len(fails) else 99):
                raise OSError
            yield piece.swapcase() if attempt < len(fails) else piece
        if attempt < len(fails):
            raise OSError

    one = kx.filter(lower if waits else str.islower)
    both = (one >> kx.retry(2) if guarded else one) >> kx.filter(kx.it != "A")
    graph = kx.source(["x"]) >> kx.concat_map(pieces) >> kx.retry(4, resume="restart") >> both >> kx.to_list()

    async def main() -> Any:
        return await graph

    items = run_virtual(main)
    assert read(items) == text.replace("B", "") and all(x.count for x in items if isinstance(x, kx.Retract))


class Pieces:
    """A unit that gives the pieces of its item; the attempts for an item fail before piece ``n``, for each n, and
    have given longer ones."""

    def __init__(self, fails: list[list[int]]) -> None:
        self.fails = {number: [*points] for number, points in enumerate(fails)}

    def __call__(self, item: tuple[int, list[str]]) -> Iterator[str]:
        number, pieces = item
        points = self.fails.get(number, [])
        fails = points.pop(0) if points else len(pieces) + 1
        for place, piece in enumerate([*pieces, None]):
            if place == fails:
                raise OSError
            if piece is not None:
                yield piece + "!?" * (fails <= len(pieces))

    async def later(self, item: tuple[int, list[str]]) -> AsyncIterator[str]:
        for piece in self(item):
            await anyio.sleep(1)
            yield piece


FILES: dict[str, Callable[[Path], Any]] = {
    "memory": lambda path: io.StringIO(), "text": lambda path: path.open("w"), "appended": lambda path: path.open("a"),
    "utf-16": lambda path: path.open("w", encoding="utf-16"), "crlf": lambda path: path.open("w", newline="\r\n"),
    "bytes": lambda path: path.open("wb"), "unbuffered": lambda path: path.open("wb", buffering=0)}


@given(items=st.lists(st.lists(st.text("aé\n😀", max_size=3), max_size=4), max_size=3), data=st.data(),
       kind=st.sampled_from([*FILES]), waits=st.booleans(), lent=st.booleans(), refused=st.integers(0, 9))
def test_a_file_holds_exactly_the_text_for_every_failure(items: list[list[str]], data: Any, kind: str, waits: bool,
                                                         lent: bool, refused: int) -> None:
    """A sink cuts it off where the attempt began, whatever was buffered, in every encoding, behind what stood there
    before, and where a write was tried again; the file is the user's, or opened by the run."""
    fails = [data.draw(st.lists(st.integers(0, len(pieces)), max_size=3)) for pieces in items]
    answer, writes = Pieces(fails), iter(range(99))
    with TemporaryDirectory() as folder:
        path, other = Path(folder, "out"), Path(folder, "plain")
        for one in (path, other):
            one.write_bytes(b"before\n")
        file = FILES[kind](path)

        def piece(text: str) -> Any:
            return text.encode() if "b" in getattr(file, "mode", "") else text

        class Refusing:
            """The file, but one write fails."""

            def __getattr__(self, name: str) -> Any:
                return getattr(file, name)

            def write(self, text: Any) -> None:
                if next(writes) == refused:
                    raise OSError
                file.write(text)

        lent = lent and kind != "memory"
        into = kx.sink(kx.resource(lambda: file)) if lent else kx.sink(Refusing()) >> kx.retry(2)
        unit = kx.concat_map(answer.later if waits else answer) >> kx.retry(4, resume="restart")
        graph = kx.source(list(enumerate(items))) >> unit >> kx.map(piece) >> into

        async def main() -> None:
            await graph

        run_virtual(main) if waits else graph.run()
        assert kind != "memory" or file.getvalue() == "".join(map("".join, items))
        file.close()
        with nullcontext(io.StringIO()) if kind == "memory" else FILES[kind](other) as plain:
            plain.writelines(piece(text) for pieces in items for text in pieces)
        assert path.read_bytes() == other.read_bytes()


def socket_file() -> Any:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        return ours.makefile("w")  # open as long as the file is


def device() -> Any:
    return Path("/dev/null").open("w")


def packed() -> Any:
    return gzip.GzipFile(fileobj=io.BytesIO(), mode="w")


def pipe_file() -> Any:
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "w")


@pytest.mark.parametrize(("target", "says"), [
    (pipe_file, "cannot go back"), (device, "is a device"), (packed, "cannot go back"),
    (socket_file, "cannot go back"),
    (lambda: anyio.AsyncFile(io.StringIO()), "asynchronously"), (lambda: sys.stderr, "is seen"),
    (lambda: io.StringIO().write, "give sink.. the file itself")], ids=range(7))
def test_what_cannot_be_cut_off_is_refused_at_the_earliest(target: Any, says: str) -> None:
    """When compiled if the run is given the file, and before the first item if the run opens it."""
    made = target()
    unit = kx.source(["x"]) >> kx.tap(SEEN.append) >> kx.concat_map(str) >> kx.retry(2, resume="restart")
    SEEN.clear()
    with pytest.raises(kx.CompileError, match=rf"'\w+' \(sink\).*{says}.*settled\(\)"):
        (unit >> kx.sink(made)).compile()
    (unit >> kx.settled() >> kx.sink(made)).compile()
    if says in ("cannot go back", "is a device"):
        with pytest.raises(kx.RunError, match=rf"\(sink\).*{says}.*settled\(\)"):
            (unit >> kx.sink(kx.resource(lambda: made))).run()
    assert SEEN == []


def test_a_file_is_cut_off_at_its_end_alone_and_as_far_back_as_places_are_kept(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RunError for a file that is written to in its middle, and for more items than there are places for."""
    path = tmp_path / "out"
    path.write_text("before")
    unit = kx.source(["x"]) >> kx.concat_map(Answer("abc", [3]).pieces) >> kx.retry(2, resume="restart")
    with path.open("r+") as file, pytest.raises(kx.RunError, match=r"before its end.*mode 'w' or 'a'"):
        (unit >> kx.sink(file)).run()
    assert path.read_text() == "before"
    monkeypatch.setattr("kayrx.nodes.retract.REACH", 2)
    with pytest.raises(kx.RunError, match=r"3 items are taken back.*last 2 are known; write kx\.settled\(3\)"):
        (unit >> kx.sink(io.StringIO())).run()
    assert "65536 places" in (unit >> kx.sink(io.StringIO())).explain()


def test_joins_and_bodies_are_looked_into() -> None:
    """A marker must not get among the items of others; inside a unit it is passed by as outside."""
    upstream = kx.source(["x"]) >> kx.concat_map(str) >> kx.retry(2, resume="restart")
    for join in (kx.merge(upstream, kx.source([1])), upstream >> [kx.map(str), kx.map(str)] >> kx.zip(),
                 kx.source([1]) >> kx.with_latest_from(upstream)):
        with pytest.raises(kx.CompileError, match="settled"):
            join.compile()
    kx.merge(upstream >> kx.settled(), kx.source([1])).compile()
    body = kx.concat_map(str) >> kx.retry(2, resume="restart")
    with pytest.raises(kx.CompileError, match="items of other groups"):
        (kx.source("ab") >> kx.group_by(str, body)).compile()
    (kx.source("ab") >> kx.group_by(str, body >> kx.settled())).compile()

    def in_a_unit(*more: Any) -> Any:
        inside = kx.concat_map(Answer("abc", [2]).pieces) >> kx.retry(2, resume="restart") >> kx.map(str.upper)
        unit = kx.unit(inside >> more[0] if more else inside).named("u") >> kx.fallback("?")
        return kx.source(["x"]) >> unit

    assert (in_a_unit() >> kx.map(str.lower)).collect() == ["a", "b", kx.Retract(2, "u.pieces", 1), "a", "b", "c"]
    with pytest.raises(kx.CompileError, match="left out"):
        (in_a_unit() >> kx.take(1)).compile()
    with pytest.raises(kx.CompileError, match="left out"):
        in_a_unit(kx.concat_map(str)).compile()


@pytest.mark.parametrize(("unit", "guard", "says"), [
    (kx.map(str), kx.retry(2, resume="restart"), "gives one output"),
    (kx.unit(kx.flat_map(str) >> kx.map(str)), kx.retry(2, resume="continue"), "guard the flat_map itself"),
    (kx.flat_map(Answer("", []).later), kx.retry(2, resume="restart"), "16 items.*write concat_map"),
    (None, kx.retry(2, resume="continue"), "give one, source"),
    (kx.each(str), kx.fallback(1, resume="restart"), "gives one output")], ids=range(5))
def test_a_mode_that_a_unit_cannot_keep_is_refused(unit: Any, guard: Any, says: str) -> None:
    """CompileError with the remedy."""
    with pytest.raises(kx.CompileError, match=says):
        ((kx.source(["x"]) if unit is None else kx.source(["x"]) >> unit) >> guard).compile()
    with pytest.raises(kx.CompileError, match="with a cursor"):
        (kx.source(lambda cursor: [1], cursor=lambda x: x) >> kx.retry(2, resume="restart")).compile()
    with pytest.raises(kx.GraphError, match="verify"):
        kx.retry(2, verify=True)


def test_without_a_restart_nobody_asks_for_markers() -> None:
    """The code of a graph without one has no word of it."""
    from kayrx.plan.shapes import pump

    def text(mode: Any) -> str:
        graph = kx.source(["x"]) >> kx.concat_map(str) >> kx.retry(2, resume=mode) >> kx.map(str)
        plan = graph.compile()
        return pump(plan.segments[0].runs[0], plan.options).text

    assert "Retract" in text("restart") and "Retract" not in text("skip_prefix")


# -- settled -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("items", "size", "out"), [
    ("abc", 9, "abc"), ("ab2cd", 9, "cd"), ("ab1c1d", 9, "ad"), ("abc", 1, "abc"), ("ab1c", 1, "ac"), ("", 3, ""),
    ("abcd2ef", 2, "abef"), ("ab3", 9, kx.RunError), ("abcd3", 2, kx.RunError)])
def test_settled_applies_what_is_taken_back(items: str, size: int, out: Any, backend: str) -> None:
    """Items leave once ``size`` others are behind them; a Retract beyond that is a RunError with the remedy."""
    given_ = [kx.Retract(int(x)) if x.isdigit() else x for x in items]
    graph = kx.source(given_) >> kx.settled(size)
    if isinstance(out, str):
        assert graph.collect(backend=backend) == [*out] and graph.collect(backend=backend, events=True) == [*out]
    else:
        with pytest.raises(kx.RunError, match=r"give settled\(\) a size of 3"):
            graph.collect(backend=backend)
    assert f"settled: {size} items" in graph.explain()

"""What the types promise: read by mypy --strict alone (tests/test_typing.py), never run.

A comment ``type: ignore[...]`` here is a claim that the line is a type error; an unused one fails.
"""

from __future__ import annotations

import operator
import queue
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any, Never, assert_type

import reactivex
from reactivex import operators as ops

import kayrx as kx
import kayrx.io
import kayrx.serve
import kayrx.testing as kit
from kayrx.graph.graph import Graph, Sink


def parse(text: str) -> int:
    return int(text)


def show(number: int) -> str:
    return str(number)


def rescued(error: Exception, text: str) -> int:
    return len(text)


async def ask(text: str) -> int:
    return int(text)


def words(text: str) -> list[str]:
    return text.split()


async def tokens(text: str) -> AsyncIterator[bytes]:
    yield text.encode()


async def pages(text: str) -> list[float]:
    return [0.0]


def letterbox() -> list[kx.Letter]:
    return []


def opened() -> Iterator[str]:
    return iter(())


async def streamed() -> AsyncIterator[str]:
    yield ""


async def fetched() -> Iterable[str]:
    return []


def numbers_only(number: int) -> None: ...


texts = kx.source(["1"])
numbers = kx.source([1, 2])

# -- ends
assert_type(texts, Graph[Never, str])
assert_type(kx.source(opened), Graph[Never, str])
assert_type(kx.source(streamed), Graph[Never, str])
assert_type(kx.source(streamed()), Graph[Never, str])
assert_type(kx.source(fetched), Graph[Never, str])
assert_type(kx.source(reactivex.of(1)), Graph[Never, int])
assert_type(kx.interval(1), Graph[Never, int])
assert_type(kx.timer(1), Graph[Never, int])
assert_type(kx.lines("x"), Graph[Never, str])
assert_type(kx.tail("x"), Graph[Never, str])
assert_type(texts >> kx.to_list(), Sink[Never, list[str]])
assert_type((texts >> kx.to_list()).run(), list[str])
assert_type((texts >> kx.each(parse)).run(), None)
held: list[int] = []
assert_type((numbers >> kx.sink(held)).run(), list[int])
assert_type(texts.collect(), list[str])
assert_type(kx.map(parse)("1"), list[int])

# -- transform
assert_type(texts >> kx.map(parse), Graph[Never, int])
assert_type(texts >> kx.map(ask), Graph[Never, int])
assert_type(texts >> kx.map(ask, concurrency=4, ordered=False), Graph[Never, int])
assert_type(texts >> kx.map(parse, on=kx.processes(2, batch=8, linger=0.1, in_flight=99)), Graph[Never, int])
assert_type(texts >> kx.map(parse, on=kx.threads(2)), Graph[Never, int])
assert_type(kx.Failed(kx.WorkerDied()).error, BaseException)
assert_type(texts >> parse, Graph[Never, int])
assert_type(texts >> ask, Graph[Never, int])
assert_type(texts >> parse >> show >> parse, Graph[Never, int])
assert_type(texts >> kx.flat_map(words), Graph[Never, str])
assert_type(texts >> kx.flat_map(tokens), Graph[Never, bytes])
assert_type(texts >> kx.flat_map(pages), Graph[Never, float])
assert_type(texts >> kx.concat_map(words), Graph[Never, str])
assert_type(texts >> kx.switch_map(words), Graph[Never, str])
assert_type(texts >> kx.switch_map(tokens), Graph[Never, bytes])
assert_type(texts >> kx.exhaust_map(tokens), Graph[Never, bytes])
assert_type(texts >> kx.exhaust_map(pages), Graph[Never, float])
assert_type(numbers >> kx.scan(operator.add, 0), Graph[Any, Any])
assert_type(numbers >> kx.pairwise(), Graph[Never, tuple[int, int]])
assert_type(numbers >> kx.tap(show), Graph[Never, int])
assert_type(numbers >> kx.rx(ops.take(1)), Graph[Any, Any])


def numbered(held: int, text: str) -> tuple[int, bytes]:
    return held + 1, text.encode()


async def remembered(held: list[str] | None, text: str) -> tuple[list[str] | None, float]:
    return None, 0.0


def told(key: Any, state: int) -> None: ...


assert_type(texts >> kx.stateful_map(numbered, seed=0), Graph[Never, bytes])
assert_type(texts >> kx.stateful_map(numbered, len, seed=0, max_keys=9, on_evict=told), Graph[Never, bytes])
assert_type(texts >> kx.stateful_map(remembered, key=ask), Graph[Never, float])
assert_type(texts >> kx.expand(words), Graph[Never, str])
assert_type(texts >> kx.loop(kx.map(str.upper), until=str.isupper), Graph[Never, str])
assert_type(texts >> kx.with_index(), Graph[Never, tuple[int, str]])
assert_type((texts >> kx.timestamp()).collect(), list[kx.Timestamp[str]])
assert_type(kx.Timestamp("a", 0.5).value, str)
assert_type((texts >> kx.materialize()).collect(), list[kx.OnNext[str] | kx.OnError | kx.OnCompleted])
assert_type(texts >> kx.materialize() >> kx.dematerialize(), Graph[Never, str])
assert_type(texts >> kx.chunk(3), Graph[Never, list[str]])
assert_type(texts >> kx.chunk(by="sentence") >> kx.chunk(2, by="grapheme"), Graph[Never, str])
assert_type(texts >> kx.flat_map(tokens) >> kx.chunk(bytes=3), Graph[Never, bytes])


def heard(notification: kx.Notification[int]) -> int:
    match notification:
        case kx.OnNext(value):
            assert_type(notification, kx.OnNext[int])
            assert_type(value, int)
            return value
        case kx.OnError(error):
            raise error
        case kx.OnCompleted():
            return 0
def count_up(held: int, text: str) -> int:
    return held + 1


def longest(held: str, text: str) -> str:
    return max(held, text, key=len)


def total(held: float, text: str) -> float:
    return held + len(text)


assert_type(texts >> kx.scan(longest), Graph[Never, str])
assert_type(texts >> kx.scan(total, 0.0), Graph[Never, float])
assert_type(texts >> kx.reduce(total, 0.0), Graph[Never, float])
assert_type((texts >> kx.reduce(longest)).collect(), list[str])

# -- select, windows, flow, time, guards: the type goes through
assert_type(texts >> kx.skip_while(str.isdigit) >> kx.distinct() >> kx.distinct(len, max_keys=9), Graph[Never, str])
assert_type(texts >> kx.take_last(2) >> kx.first() >> kx.last() >> kx.element_at(0), Graph[Never, str])
assert_type(texts >> kx.first(str.isdigit) >> kx.last(str.isdigit), Graph[Never, str])
assert_type(texts >> kx.default_if_empty("") >> kx.first(default=""), Graph[Never, str])
assert_type(texts >> kx.last(str.isdigit, None), Graph[Never, str | None])
assert_type(texts >> kx.ignore_elements(), Graph[Never, Never])
assert_type(texts >> kx.filter(bool) >> kx.map(parse), Graph[Never, int])
assert_type(texts >> kx.map(parse) >> kx.buffer(count=2) >> kx.map(sum), Graph[Never, int])



def second(text: str) -> float:
    return 0.0


assert_type(texts >> kx.window_by(len, event_time=second, tumbling=1), Graph[Never, kx.Window[list[str]]])
assert_type(texts >> kx.window_by(event_time=second, sliding=(2, 1), fold=(0, count_up)),
            Graph[Never, kx.Window[int]])
assert_type(texts >> kx.window_by(event_time=second, session=1, fold=(0, count_up, max)),
            Graph[Never, kx.Window[int]])
assert_type(kx.map(parse) >> kx.map(show), Graph[str, str])
assert_type((kx.map(parse) >> kx.map(show)).named("both"), Graph[str, str])
assert_type(kx.unit(kx.map(parse) >> kx.map(show)), Graph[str, str])
assert_type(texts >> kx.take(2).named("few"), Graph[Any, Any])
assert_type(texts >> kx.prefetch(2) >> kx.coalesce(2, longest) >> kx.map(parse), Graph[Never, int])
assert_type(texts >> kx.rate_limit(5, key=len, cost=len) >> kx.map(parse), Graph[Never, int])
assert_type(texts >> kx.keep_alive(5, "") >> kx.map(parse), Graph[Never, int])
assert_type(texts >> kx.keep_alive(5, str) >> kx.map(parse), Graph[Never, int])
assert_type(texts >> kx.backpressure(5, bytes=10, size_of=len, low=0.5) >> kx.map(parse), Graph[Never, int])
assert_type(kx.unit(kx.map(parse), name="p"), Graph[str, int])

# -- a pipeline of every family keeps its types to the end
pipeline = (
    texts
    >> kx.filter(str.isdigit) >> kx.take(9) >> kx.skip(1) >> kx.take_while(str.isdigit)
    >> kx.map(ask, concurrency=8) >> kx.timeout(20) >> kx.retry(3, backoff=kx.exponential(0.2, cap=5))
    >> kx.skip_errors() >> kx.dead_letter([])
    >> kx.distinct_until_changed() >> kx.debounce(0.1) >> kx.delay(1) >> kx.throttle_first(1) >> kx.sample(1)
    >> kx.backpressure(16, overflow="drop_oldest") >> kx.map(show)
    >> kx.buffer(count=10, seconds=0.5) >> kx.to_list()
)
assert_type(pipeline, Sink[Never, list[list[str]]])
assert_type(pipeline.run(), list[list[str]])

# -- guards follow a sink as any other unit
assert_type(kx.each(parse) >> kx.retry(3) >> kx.skip_errors(), Sink[str, None])
assert_type(texts >> (kx.each(parse) >> kx.retry(3)), Sink[Never, None])
assert_type(texts >> kx.to_list().named("all"), Sink[Never, list[Any]])
assert_type(texts >> kx.map(parse) >> kx.retry(3) >> kx.skip_errors(), Graph[Never, int])
assert_type(numbers >> kx.sink(queue.Queue[int]()), Sink[Never, Any])
assert_type(texts >> kx.sink(sys.stdout), Sink[Never, Any])
assert_type(texts >> kx.sink(kx.resource(opened)), Sink[Never, None])
assert_type(texts >> kx.map(parse) >> kx.dead_letter(kx.sqlite_letters("x.db")), Graph[Never, int])
assert_type(texts >> kx.map(parse) >> kx.dead_letter(kx.json_letters("x", fsync=False)), Graph[Never, int])
assert_type(texts >> kx.map(parse) >> kx.dead_letter(kx.resource(letterbox)), Graph[Never, int])
assert_type(texts >> kx.each(parse) >> kx.dead_letter(kx.memory_letters(9)), Sink[Never, None])
assert_type(texts.replay(kx.memory_letters(), where=lambda letter: letter.attempts < 3), kx.Replayed)
assert_type(texts.replay(kx.sqlite_letters("x.db"), graph="before", backend="trio").done, int)
assert_type(list(kx.sqlite_letters("x.db", codec=kx.pickle_codec).items(done=None)), list[kx.Letter])
store: kx.LetterStore = kx.memory_letters(9)
codec: kx.Codec = kx.pickle_codec
assert_type(texts >> kx.checkpoint(kx.memory_checkpoints(), every=9) >> kx.map(parse), Graph[Never, int])
assert_type(texts >> kx.checkpoint(kx.sqlite_checkpoints("x.db"), seconds=5) >> kx.to_list(), Sink[Never, list[str]])
checkpoints: kx.CheckpointStore = kx.memory_checkpoints(codec=kx.pickle_codec)

# -- one by one: what each name makes of its input
assert_type(texts >> kx.skip(1) >> kx.take_while(str.isdigit), Graph[Never, str])
assert_type(texts >> kx.distinct_until_changed() >> kx.distinct_until_changed(len), Graph[Never, str])
assert_type(texts >> kx.count(), Graph[Never, int])
assert_type(kx.sum(), Graph[float, float])
assert_type(texts >> kx.sliding(2), Graph[Never, list[str]])
assert_type(texts >> kx.filter(kx.it != "") >> kx.map(parse), Graph[Any, int])
assert_type(texts >> kx.debounce(1) >> kx.throttle_first(1) >> kx.sample(1) >> kx.delay(1), Graph[Never, str])
assert_type(texts >> kx.share() >> kx.map(parse), Graph[Never, int])
assert_type(texts >> kx.backpressure(1, overflow=kx.conflate(longest)), Graph[Never, str])
assert_type(texts >> kx.partition(str.isdigit, kx.map(parse), kx.map(ask)), Graph[Never, int])
assert_type(texts >> kx.branch({"a": kx.map(parse), "b": kx.map(ask)}), Graph[Never, int])
assert_type(texts >> kx.map(parse) >> kx.timeout(first=1, idle=2) >> kx.fallback(ask, parse), Graph[Never, int])
assert_type(texts >> kx.map(parse) >> kx.retry(2, backoff=kx.exponential(1)) >> kx.dead_letter([]), Graph[Never, int])
assert_type(kx.exponential(0.2, cap=5).wait(2), float)
assert_type(kx.fibonacci(1, cap=9).wait(2), float)
assert_type(texts >> kx.map(parse) >> kx.retry(2, jitter="decorrelated", deadline=5, resume="restart"),
            Graph[Never, int])
assert_type(texts >> kx.map(parse) >> kx.fallback(kx.map(ask), -1) >> kx.on_error_return(0), Graph[Never, int])
assert_type(kx.map(parse) >> kx.bulkhead(1) >> kx.fallback(parse) >> kx.fallback(kx.map(ask)), Graph[str, int])
assert_type(kx.map(parse) >> kx.fallback(0) >> kx.catch(rescued) >> kx.on_error_return(0), Graph[str, int])
assert_type(texts >> kx.map(parse) >> kx.catch(rescued) >> kx.fallback(0, resume="continue"), Graph[Never, int])
assert_type(texts >> kx.map(ask) >> kx.hedge(after=1) >> kx.bulkhead(2, queued=3) >> kx.deadline(2), Graph[Never, int])
assert_type(texts >> kx.each(parse) >> kx.circuit_breaker(rate=0.5, window=9, name="a") >> kx.deadline(2),
            Sink[Never, None])
assert_type(texts >> kx.settled() >> kx.map(parse), Graph[Never, int])
assert_type(kx.queue_source(4).dropped, int)
assert_type(kx.source(kx.Subject[str]()) >> kx.map(parse), Graph[Never, int])
assert_type(kx.Subject[str]() >> kx.map(parse), Graph[Never, int])
assert_type(kx.Subject[str]().pipe(ops.take(1)), reactivex.Observable[Any])

# -- combine
assert_type(kx.merge(texts, texts), Graph[Any, str])
assert_type(kx.concat(texts, texts), Graph[Any, str])
assert_type(kx.zip(texts, numbers), Graph[Never, tuple[str, int]])
assert_type(kx.zip(texts, numbers, texts), Graph[Never, tuple[str, int, str]])
assert_type(kx.combine_latest(texts, numbers), Graph[Never, tuple[str, int]])
assert_type(kx.zip_latest(texts, numbers), Graph[Never, tuple[str, int]])
assert_type(kx.race(texts, texts), Graph[Any, str])
assert_type(kx.merge_prioritized(texts, texts, priorities=(2, 1)), Graph[Any, str])
assert_type(texts >> kx.group_by(len, kx.map(parse)), Graph[Never, int])
assert_type(texts >> kx.group_by(ask, kx.map(parse) >> kx.map(show), max_groups=2), Graph[Never, str])
assert_type(texts >> kx.window(2, kx.map(parse)), Graph[Never, int])
assert_type(texts >> kx.join(numbers, within=2), Graph[Never, tuple[str, int]])
assert_type(texts >> kx.join(numbers, within=(1, 2), key=(len, show), event_time=(second, float), lateness=1),
            Graph[Never, tuple[str, int]])
assert_type(texts >> kx.with_latest_from(numbers), Graph[Never, tuple[str, int]])
assert_type(texts >> kx.with_latest_from(numbers, texts), Graph[Never, tuple[str, int, str]])
assert_type(texts >> kx.take_until(numbers) >> kx.map(parse), Graph[Never, int])
assert_type(texts >> kx.skip_until(numbers) >> kx.map(parse), Graph[Never, int])
assert_type(texts >> kx.pause_when(numbers) >> kx.map(parse), Graph[Never, int])
assert_type(texts >> kx.map(parse) >> kx.buffer(until=texts) >> kx.map(sum), Graph[Never, int])
assert_type(texts >> kx.broadcast(kx.map(parse), kx.map(ask)), Graph[Never, int])
assert_type(texts >> kx.share(replay=2) >> kx.map(parse), Graph[Never, int])
assert_type(texts >> kx.balance(kx.map(parse), kx.map(ask)), Graph[Never, int])
assert_type(texts >> kx.also_to(kx.each(parse)) >> kx.map(parse), Graph[Never, int])
assert_type(texts >> kx.wire_tap(kx.each(parse)) >> kx.map(parse), Graph[Never, int])
assert_type(texts >> kx.divert_to(kx.each(parse), str.isdigit) >> kx.map(parse), Graph[Never, int])
assert_type([1, 2] >> kx.map(show), Graph[Never, str])
assert_type(reactivex.of(1, 2) >> kx.map(show), Graph[Never, str])
assert_type([1, 2] >> kx.map(show) >> kx.to_list(), Sink[Never, list[str]])

# -- faces


async def faces() -> None:
    assert_type(await (texts >> kx.to_list()), list[str])
    async with (texts >> kx.map(parse)).stream() as items:
        async for item in items:
            assert_type(item, int)
    async for text in texts:
        assert_type(text, str)
    assert_type(await texts.replayed(kx.memory_letters()), kx.Replayed)
    async with texts.start() as run:
        assert_type(run, kx.Run)


assert_type(texts.to_observable(), reactivex.Observable[str])
operated: Callable[[Any], reactivex.Observable[int]] = kx.map(parse).operator()
assert_type(texts.explain(), str)
assert_type(texts.check(), list[str])
assert_type(texts.check(trial=["1"], world=kx.World()), list[str])
assert_type(kx.constant(1).wait(1), float)

# -- values and errors


class Kept:
    def read(self, cursor: Any, n: int) -> tuple[list[str], Any]:
        return [], None


def placed(place: kx.Placement, letter: kx.Letter, store: kx.Replayable[str], node: kx.Node) -> None:
    assert_type(place.workers + place.in_flight + place.batch, int)
    assert_type((letter.attempts, letter.error), tuple[int, Exception])
    assert_type(store.read(None, 2)[0], Sequence[str])
    assert_type((node.where, node.label), tuple[str, str])


kept: kx.Replayable[str] = Kept()
assert_type(kx.Options(chunk=1).chunk, int)
assert_type(texts.nodes, tuple[kx.Node, ...])
whole: kx.Graph[Never, int] = texts >> kx.map(parse)
listed: kx.Sink[Never, list[int]] = whole >> kx.to_list()
assert_type(whole, kx.Graph[Never, int])
assert_type(listed, kx.Sink[Never, list[int]])
assert_type(kx.CallTimeout("late", "first").which, str)
assert_type(kx.CircuitOpen("open", 2.0).seconds, float)
assert_type(kx.BulkheadFull("full"), kx.BulkheadFull)
assert_type(kx.DeadlineExceeded("late"), kx.DeadlineExceeded)
assert_type(kx.Retract(2, "node", 1).count, int)


def failed(error: Exception) -> None:
    match error:
        case kx.GraphError() | kx.CompileError() | kx.MissingDependency():
            assert_type(error, kx.GraphError | kx.CompileError | kx.MissingDependency)
        case kx.GateOverflow() | kx.GateDeadlock() | kx.AbandonedCall() | kx.WorkerDied():
            assert_type(error, kx.GateOverflow | kx.GateDeadlock | kx.AbandonedCall | kx.WorkerDied)
        case kx.RunError():
            assert_type(error, kx.RunError)
        case kx.KayrxError():
            assert_type(error, kx.KayrxError)


# -- the testing kit


async def count() -> int:
    return len(await (texts >> kx.to_list()))


assert_type(kit.run_virtual(count), int)
assert_type(kit.run_virtual(count, "trio", seed=1, patience=0.1), int)
assert_type(kit.Schedule(1).run(count, "trio"), int)
assert_type(kit.marbles(kx.take(2), "-a|", values={"a": 1}, until="--!"), kit.Trace)
assert_type(kit.marbles(kx.merge, "-a|", "-b|").error, Exception | None)
assert_type(kit.laws.check(kx.map(parse), ["1"], expect=[1], ordered=False), None)
assert_type(kit.Faults(1).function(parse), Callable[..., Any])
assert_type(kit.virtual_world(1), kx.World)
kit.marbles(kx.take(2), 3)  # type: ignore[arg-type]
kit.run_virtual(parse)  # type: ignore[arg-type]

# -- clients
assert_type(kayrx.io.sse_client("http://x", json=1), Graph[Never, kayrx.io.ServerSent])
assert_type(kayrx.io.websocket_client("ws://x", input=1), Graph[Never, kayrx.serve.Event])
assert_type(kayrx.io.http_lines("http://x") >> kx.map(parse), Graph[Never, int])
assert_type(texts >> kayrx.io.post_each("http://x") >> kx.retry(2), Graph[Never, kayrx.io.Answered])
kayrx.io.sse_client("http://x", gaps="none")  # type: ignore[arg-type]

# -- wrong joins are type errors
numbers >> kx.each(parse)  # type: ignore[operator]
numbers >> kx.tap(parse)  # type: ignore[arg-type]
numbers >> kx.map(lambda x: x.upper())  # type: ignore[attr-defined]
numbers >> kx.sink([""])  # type: ignore[operator]
numbers >> kx.sink(queue.Queue[str]())  # type: ignore[operator]
numbers >> kx.map(show) >> kx.sink(numbers_only)  # type: ignore[operator]
kx.to_list() >> kx.take(1)  # type: ignore[operator]
numbers >> kx.map(parse)  # type: ignore[arg-type]
texts >> kx.map(parse) >> kx.map(parse)  # type: ignore[arg-type]
parsed = kx.map(parse)
numbers >> parsed  # type: ignore[operator]
[1, 2] >> parsed  # type: ignore[operator]
kx.Subject[int]() >> parsed  # type: ignore[operator]
numbers >> parse  # type: ignore[operator]
texts >> kx.to_list() >> kx.map(parse)  # type: ignore[operator]
texts >> 5  # type: ignore[operator]
kx.map(5)  # type: ignore[call-overload]
kx.take("2")  # type: ignore[arg-type]
kx.chunk(2, bytes=3)  # type: ignore[call-overload]
kx.chunk(by="word")  # type: ignore[call-overload]
numbers >> kx.chunk(by="sentence")  # type: ignore[operator]
numbers >> kx.stateful_map(numbered, seed=0)  # type: ignore[arg-type]
kx.merge([1])  # type: ignore[arg-type]
kx.backpressure(2, overflow="lose")  # type: ignore[arg-type]
kx.retry(2, jitter="some")  # type: ignore[arg-type]
kx.retry(2, resume="later")  # type: ignore[arg-type]
kx.catch(3)  # type: ignore[arg-type]
kx.bulkhead("2")  # type: ignore[arg-type]
kx.circuit_breaker(name=2)  # type: ignore[arg-type]
kx.hedge("soon")  # type: ignore[arg-type]
kx.dead_letter("failed.db")  # type: ignore[arg-type]
kx.sqlite_letters("failed.db", codec=parse)  # type: ignore[arg-type]
texts.replay([])  # type: ignore[arg-type]
kx.share(replay="2")  # type: ignore[arg-type]
kx.also_to(kx.map(parse))  # type: ignore[arg-type]
kx.unit(parse)  # type: ignore[arg-type]
numbers >> kx.group_by(show, kx.map(parse))  # type: ignore[arg-type]
texts >> kx.take_until(3)  # type: ignore[arg-type]
kx.map(parse, on=kx.processes("2"))  # type: ignore[arg-type]
kx.map(parse, on=2)  # type: ignore[call-overload]
kx.zip(texts, 3)  # type: ignore[call-overload]

"""Attempts of one item: the waits between them, their deadline, and what the last error tells of the others."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import anyio
import pytest

import kayrx as kx

Virtual = Callable[[Any], Any]
DAY = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT


class Refused(Exception):
    """What an HTTP client raises: with an answer that has headers."""

    def __init__(self, headers: Any) -> None:
        super().__init__("refused")
        self.response = type("Response", (), {"headers": headers})()


class Asks(Exception):
    def __init__(self, seconds: Any) -> None:
        self.retry_after = seconds


def waits(error: Exception, guard: Any, times: int = 1, **world: Any) -> list[float]:
    """How long a run sleeps where a call fails so often with ``error``."""
    slept: list[float] = []
    left = [times]

    def call(x: int) -> int:
        left[0] -= 1
        if left[0] >= 0:
            raise error
        return x

    (kx.source([1]) >> kx.map(call) >> guard >> kx.skip_errors()).run(world=kx.World(block=slept.append, **world))
    return slept


@pytest.mark.parametrize(("error", "seconds"), [
    (Refused({"retry-after": "7"}), 7), (Refused({"Retry-After": b"2.5"}), 2.5), (Asks(3), 3), (Asks("4"), 4),
    (Refused({"retry-after": "Sun, 06 Nov 1994 08:50:37 GMT"}), 60),
    (Refused({"retry-after": "Sun, 06 Nov 1994 08:49:30 GMT"}), 1), (Refused({"retry-after": "soon"}), 1),
    (Refused({}), 1), (Refused(None), 1), (Refused(5), 1), (Asks(True), 1), (Asks(-3), 1), (Asks(float("nan")), 1),
    (Asks(float("inf")), 1), (Asks(0.5), 1)])
def test_a_wait_is_at_least_what_the_error_asks_for(error: Exception, seconds: float) -> None:
    """Retry-After in seconds or as a date by the injected wall clock; what makes no sense asks for nothing."""
    assert waits(error, kx.retry(2, backoff=kx.constant(1)), wall=lambda: DAY) == [seconds]


@pytest.mark.parametrize("unit", ["map", "flat_map", "unit", "source", "concurrent", "after a stage"])
def test_a_wait_that_is_asked_for_needs_no_backoff(unit: str, virtual: Virtual) -> None:
    """On a loop it parks whatever it has to, also where no guard was written to wait."""
    left = [1]

    def call(x: Any = None) -> Any:
        left[0] -= 1
        if left[0] >= 0:
            raise Asks(30)
        return x if x is not None else [1]

    async def call_later(x: Any) -> Any:
        return call(x)

    async def main() -> Any:
        begin = anyio.current_time()
        graphs = {
            "map": kx.source([1]) >> kx.map(call_later) >> kx.retry(2),
            "concurrent": kx.source([1]) >> kx.map(call_later, concurrency=3) >> kx.retry(2),
            "flat_map": kx.source([[1]]) >> kx.flat_map(call) >> kx.retry(2) >> kx.map(call_later),
            "unit": kx.source([1]) >> kx.unit(kx.map(call) >> kx.map(kx.it)) >> kx.retry(2) >> kx.map(call_later),
            "source": kx.source(call) >> kx.retry(2) >> kx.map(call_later),
            "after a stage": kx.source([1]) >> kx.delay(1) >> kx.map(call) >> kx.retry(2)}
        return await (graphs[unit] >> kx.to_list()), anyio.current_time() - begin

    assert virtual(main) == ([1], 31 if unit == "after a stage" else 30)


@pytest.mark.parametrize(("guard", "times", "slept"), [
    (kx.retry(9, backoff=kx.constant(4), deadline=10), 9, [4, 4]),
    (kx.retry(9, backoff=kx.constant(4), deadline=8), 9, [4, 4]),
    (kx.retry(9, backoff=kx.constant(20), deadline=10), 9, []),
    (kx.retry(3, backoff=kx.constant(1), deadline=10), 2, [1, 1])])
def test_no_wait_goes_beyond_the_deadline_of_a_retry(guard: Any, times: int, slept: list[float]) -> None:
    """An attempt that could only begin too late is not waited for: the error stands at once."""
    now = [100.0]
    left = [times]

    def call(x: int) -> int:
        left[0] -= 1
        if left[0] >= 0:
            raise OSError
        return x

    def block(seconds: float) -> None:
        now[0] += seconds
        waited.append(seconds)

    waited: list[float] = []
    world = kx.World(block=block, now=lambda: now[0])
    for _ in range(2):
        left[0], waited[:] = times, []
        graph = kx.source([1]) >> kx.map(call) >> guard >> kx.skip_errors()
        assert len(graph.collect(world=world)) == (times < 3) and waited == slept


def test_a_server_that_asks_for_more_than_the_deadline_is_not_asked_again() -> None:
    """A Retry-After beyond the deadline gives up at once."""
    assert waits(Asks(11), kx.retry(5, backoff=kx.constant(1), deadline=10)) == []
    assert waits(Asks(9), kx.retry(5, backoff=kx.constant(1), deadline=10), now=lambda: 0.0) == [9]


def test_fibonacci_and_decorrelated_waits() -> None:
    """Waits of 1, 1, 2, 3 ... ; decorrelated ones lie between the first and three times the last, below the cap."""
    assert waits(OSError(), kx.retry(7, backoff=kx.fibonacci(2, cap=9)), 6) == [2, 2, 4, 6, 9, 9]
    guard = kx.retry(60, backoff=kx.exponential(1, cap=20), jitter="decorrelated")
    drawn = [waits(OSError(), guard, 59, random=random.Random(seed)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(1 <= b <= min(20, 3 * a) for one in drawn for a, b in zip([1, *one], one, strict=False))
    assert max(drawn[0]) > 10


@pytest.mark.parametrize("waits_", [False, True])
def test_the_last_error_tells_of_the_attempts_before_it(waits_: bool, backend: str) -> None:
    """One note, equal ones counted together; the exception keeps its type and is the very object."""
    errors: list[Exception] = [OSError("a"), OSError("a"), KeyError("b"), ValueError("last")]
    raised = iter(errors)

    def call(x: int) -> int:
        raise next(raised)

    async def call_later(x: int) -> int:
        return call(x)

    graph = kx.source([1]) >> kx.map(call_later if waits_ else call) >> kx.retry(4)
    with pytest.raises(ValueError) as caught:
        graph.collect(backend="asyncio" if waits_ and backend == "sync" else backend)
    assert caught.value is errors[-1]
    earlier, place = caught.value.__notes__
    assert earlier == "kayrx: earlier attempts: 1-2: OSError: a; 3: KeyError: 'b'" and place.endswith("attempt 4")


def test_one_error_object_for_all_does_not_gather_notes() -> None:
    """Raised for many items and attempts, in guards inside guards, it has one note of earlier attempts."""
    error = OSError("the same")

    def call(x: int) -> int:
        raise error

    graph = kx.source(range(50)) >> kx.map(call) >> kx.retry(3) >> kx.retry(2) >> kx.skip_errors()
    assert graph.collect() == [] and error.__notes__ == ["kayrx: earlier attempts: 1: OSError: the same"]


def test_the_note_of_many_attempts_is_short() -> None:
    """However many different errors there were."""
    count = iter(range(1000))

    def call(x: int) -> int:
        raise OSError(f"{next(count)}" * 500)

    letters: list[Any] = []
    assert (kx.source([1]) >> kx.map(call) >> kx.retry(1000) >> kx.dead_letter(letters)).collect() == []
    (note,) = letters[0].error.__notes__
    assert len(note) < 1500 and "6-999: and others" in note and letters[0].attempts == 1000

"""Marble tests: three aligned strings say what goes in, what comes out, and how long the source is held."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from reactivex import operators as ops

import kayrx as kx
from kayrx.testing import MarbleError, marbles


def test_take_passes_the_first_items_and_lets_go_of_the_source(loop: str) -> None:
    """The source is released at the frame of the last wanted item, not at its end."""
    source = "--a--b--c--d--|"
    output = "--a--(b|)"
    held__ = "^----!"

    trace = marbles(kx.take(2), source, backend=loop)

    assert trace == output
    assert trace.subscribed == held__


def test_timed_nodes_are_drawn_at_their_frames(loop: str) -> None:
    """A frame is a second; timers fall between the items, and behind an item of the same moment."""
    source = "-a-bc----d-|"
    output = "------c----(d|)"

    assert marbles(kx.debounce(2), source, backend=loop) == output
    assert marbles(kx.throttle_first(3), "-a--b--c--|", backend=loop) == "-a--b--c--|"
    assert marbles(kx.delay(2), "a-b|", backend=loop) == "--a-b|"


def test_values_stand_for_letters_on_both_sides(loop: str) -> None:
    """``values`` gives the letters their meaning, in and out."""
    trace = marbles(kx.map(kx.it * 10), "-a-b|", values={"a": 1, "b": 2, "x": 10, "y": 20}, backend=loop)

    assert trace == "-x-y|"
    assert trace != "-a-b|"
    assert repr(trace) == "-x-y|"


def test_a_value_without_a_letter_is_explained() -> None:
    """A printed trace says what the letters that it had to invent stand for."""
    assert repr(marbles(kx.buffer(count=2), "a-b--c|")) == "--A---(B|)   where A = ['a', 'b'], B = ['c']"


def test_an_error_ends_the_trace(loop: str) -> None:
    """``#`` is an error: any, unless ``errors`` names it; then type and arguments count."""
    def fail(x: str) -> str:
        raise LookupError(x)

    assert marbles(kx.map(str), "-a-#", backend=loop) == "-a-#"
    assert isinstance(marbles(kx.map(str), "#", backend=loop).error, MarbleError)
    trace = marbles(kx.map(fail), "-a-b|", errors=LookupError("a"), backend=loop)
    assert trace == "-#" and trace.subscribed == "^!"
    assert marbles(kx.map(fail), "-a-b|", errors=LookupError("b"), backend=loop) != "-#"
    two = {"#": LookupError("a"), "x": OSError("x")}
    assert marbles(kx.map(str), "-x", errors=two, backend=loop) == "-x"
    assert marbles(kx.map(str), "-x", errors=two, backend=loop) != "-#"


def test_groups_and_time_progression(loop: str) -> None:
    """What comes in one frame stands in parentheses; long times are written as such; spaces align."""
    assert marbles(kx.pairwise() >> kx.map("".join), "a-(bc)-|", values={"x": "ab", "y": "bc"},
                   backend=loop) == "--(xy)-|"
    assert marbles(kx.delay(3600), "a 10ms b 59s |", backend=loop) == "3600s a 10ms b 59s |"
    assert marbles(kx.delay(0.25), "  a -- |  ", backend=loop) == "250ms a--|"
    assert marbles(kx.delay(0.002), "ab|", frame=0.001, backend=loop) == "--ab|"


def test_several_sources_through_a_function_or_an_open_fan_in(loop: str) -> None:
    """A function gets the sources; a graph that begins with an open fan-in joins them."""
    a = "-a---c---|"
    b = "---b---d-----|"

    trace = marbles(kx.merge, a, b, backend=loop)
    assert trace == "-a-b-c-d-----|"
    assert trace.subscribed == ["^--------!", "^------------!"]
    assert marbles(kx.merge() >> kx.take(2), a, b, backend=loop).subscribed == ["^--!", "^--!"]
    values = {"x": ("a", "b"), "y": ("c", "d")}
    assert marbles(kx.zip(), a, b, values=values, backend=loop) == "---x---y-|"
    assert marbles(lambda a, b: kx.merge(a, b >> kx.delay(1)), a, b, backend=loop) == "-a--bc--d-----|"


def test_of_two_items_in_one_frame_the_first_source_goes_first(loop: str) -> None:
    """By time, then by port (ruling 8), on every backend and under every seed."""
    for seed in range(5):
        assert marbles(kx.merge, "-a----c---|", "-b----d---|", backend=loop, seed=seed) == "-(ab)-(cd)|"
        assert marbles(kx.merge, "-a----c---|", "^b----d---|", backend=loop, seed=seed) == "-(ab)-(cd)|"


def test_what_has_no_picture_is_told_as_moments(loop: str) -> None:
    """Nothing can be drawn right behind a group (it takes a frame a character); ``moments`` is a list."""
    trace = marbles(kx.flat_map(lambda x: [x, x]), "-ab|", backend=loop)

    assert trace.moments == [(1, "a"), (1, "a"), (2, "b"), (2, "b"), (3, "|")]
    assert repr(trace) == "at 1: a a, at 2: b b, at 3: |"
    error = OSError()
    assert marbles(kx.map(str), "-#", errors=error, backend=loop).moments == [(1, error)]


def test_a_cold_source_begins_for_each_subscriber(loop: str) -> None:
    """``concat`` subscribes to the second when the first has ended; a reconnection subscribes anew."""
    trace = marbles(kx.concat, "a-b|", "-c-|", backend=loop)
    assert trace == "a-b-c-|" and trace.subscribed == ["^--!", "---^--!"]

    trace = marbles(kx.retry(3, backoff=kx.constant(2)) >> kx.map(str), "-a-#", backend=loop)
    assert trace == "-a----a----a-#" and trace.subscribed == ["^--!", "-----^--!", "----------^--!"]


def test_a_cold_source_waits_for_a_graph_that_is_busy(loop: str) -> None:
    """An item whose frame has come is given once there is room for it, and holds up those behind it."""
    async def slow(x: str) -> str:
        await anyio.sleep(3)
        return x

    trace = marbles(kx.map(slow), "abc|", backend=loop)
    assert trace == "---a--b--(c|)" and trace.subscribed == "^--!"  # the gate has room for all
    trace = marbles(kx.backpressure(1) >> kx.map(slow), "abcd|", backend=loop)
    assert trace.moments == [(3, "a"), (6, "b"), (9, "c"), (12, "d"), (12, "|")]
    assert trace.subscribed == "^-----------!"  # its end is seen once there is room again


def test_a_hot_source_waits_for_nobody(loop: str) -> None:
    """It pushes at its frames: what came before the subscription, or finds the gate full, is lost."""
    assert marbles(kx.map(str), "a--^--b--c--|", backend=loop) == "---b--c--|"
    assert marbles(kx.concat, "---|", "^a--b--|", backend=loop) == "----b--|"
    trace = marbles(kx.take(1), "-a-b-|", hot=True, backend=loop)
    assert trace == "-(a|)" and trace.subscribed == "^!"


def test_until_lets_go_early(loop: str) -> None:
    """At the frame of ``!``, before anything else happens in it, the graph and its source are released."""
    trace = marbles(kx.map(str), "-a-b-c-|", until="---!", backend=loop)

    assert trace == "-a-"
    assert trace.subscribed == "^--!"


def test_a_source_that_does_not_end_is_watched_to_the_end_of_its_string(loop: str) -> None:
    """Then the test is over; that is no release of the source."""
    trace = marbles(kx.debounce(2), "-a-----b-", backend=loop)

    assert trace == "---a" and trace.subscribed == "^--------"
    assert marbles(kx.debounce(2), "-a-----b----", backend=loop) == "---a-----b"


def test_rx_operators_intervals_and_async_functions_are_on_the_same_clock(loop: str) -> None:
    """Every way to wait within a graph."""
    async def later(x: str) -> str:
        await anyio.sleep(1)
        return x

    assert marbles(kx.rx(ops.delay(2)) >> kx.map(later), "-a---b|", backend=loop) == "----a---(b|)"
    assert marbles(kx.interval(2) >> kx.take(2), values={"x": 0, "y": 1}, backend=loop) == "--x-(y|)"


@pytest.mark.parametrize("options", [{"chunk": 1}, {"fuse": False}, {"events": True}, {"seed": 7}], ids=str)
def test_options_change_nothing(loop: str, options: dict[str, Any]) -> None:
    """Chunk, fusion, events and schedule are the run's own affair (law 5)."""
    trace = marbles(kx.map(str.upper) >> kx.debounce(1) >> kx.take(2), "ab--c---d|", backend=loop, **options)

    assert trace == "--B--(C|)" and trace.subscribed == "^----!"


def test_two_runs_are_equal(loop: str) -> None:
    """A trace depends on nothing but its arguments."""
    def run() -> Any:
        return marbles(kx.merge() >> kx.sample(1.5) >> kx.delay(0.3), "a-b--c-d|", "-e--f-", backend=loop)

    assert run() == run() and repr(run()) == repr(run())


@pytest.mark.parametrize(("write", "says"), [
    (lambda: marbles(kx.take(1), "-a)"), "no group is open"),
    (lambda: marbles(kx.take(1), "-(a"), "not closed"),
    (lambda: marbles(kx.take(1), "-(a-)"), "no time goes by in a group"),
    (lambda: marbles(kx.take(1), "-((a))"), "inside a group"),
    (lambda: marbles(kx.take(1), "-|a"), "after the end"),
    (lambda: marbles(kx.take(1), "-,"), "is no item"),
    (lambda: marbles(kx.take(1), "^-^"), "a second"),
    (lambda: marbles(kx.take(1), "--!"), "until="),
    (lambda: marbles(kx.take(1), "-a|", until="--a"), "one '!'"),
    (lambda: marbles(kx.take(1), ["a"]), "is a str"),
    (lambda: marbles(kx.take(1), "a", frame=0), "frame"),
    (lambda: marbles(kx.take(1), "a", errors=3), "exception"),
    (lambda: marbles(kx.take(1), "a", "b"), "takes one source"),
    (lambda: marbles(kx.take(1)), "takes one source"),
    (lambda: marbles(kx.merge()), "joins sources"),
    (lambda: marbles(kx.interval(1), "a"), "brings its own items"),
    (lambda: marbles(kx.to_list(), "a"), "leave the sink off"),
    (lambda: marbles(lambda a: 3, "a"), "the function gave 3"),
    (lambda: marbles(3, "a"), "a function of the sources"),
], ids=range(19))
def test_what_cannot_be_played_is_refused(write: Any, says: str) -> None:
    """A GraphError says what is wrong, and where."""
    with pytest.raises(kx.GraphError, match=says):
        write()


async def test_marbles_can_be_played_beside_a_running_loop(loop: str) -> None:
    """As in a notebook: a call waits for the loop of its own to end."""
    assert marbles(kx.delay(3600), "a|", backend=loop) == "3600s a|"


def test_a_graph_that_never_ends_is_an_assertion_and_no_hang(loop: str) -> None:
    """10,000 frames after the last source a test is told to say how long it wants to look."""
    with pytest.raises(AssertionError, match="until="):
        marbles(lambda a: kx.merge(a, kx.interval(900)), "a|", backend=loop)


def test_a_wrong_picture_is_not_equal(loop: str) -> None:
    """A frame, a letter, an end or a release that differs makes the traces differ."""
    trace = marbles(kx.take(2), "--a--b--c--d--|", backend=loop)

    for wrong in ("-a--(b|)", "--a--(c|)", "--a--b", "--a--(b#)", "--a--b|", "--a", ""):
        assert trace != wrong
    for wrong in ("^-----!", "^", "", "-^---!", "^----!a", "----!"):
        assert trace.subscribed != wrong
    assert trace.subscribed != ["^----!", "^----!"] and trace != 3 and trace.subscribed != 3

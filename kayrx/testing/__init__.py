"""The testing kit: how to test a graph without waiting, without guessing, and without leaving anything behind.

Nothing in kayrx imports it.  ``pip install kayrx[testing]`` brings pytest, hypothesis and trio; each part has
a fixture of its own (`kayrx.testing.plugin`).  The examples below run as they stand.

**Marbles**: what goes in, what comes out, and how long the source is held, as aligned strings.

>>> import kayrx as kx
>>> from kayrx.testing import marbles
>>> source = "--a--b--c--d--|"
>>> output = "--a--(b|)"
>>> held__ = "^----!"
>>> trace = marbles(kx.take(2), source)
>>> trace == output and trace.subscribed == held__
True

A character is a second (``frame=``); ``values={"a": 1}`` gives letters a meaning; ``#`` is an error; several
sources are several strings; a ``^`` in a source makes it hot; ``until="---!"`` leaves early.  In pytest a
comparison that fails prints the strings below each other.

>>> marbles(kx.merge() >> kx.debounce(2), "-a------b|", "--c------|", backend="trio")
----c----(b|)

**Virtual time**: every wait inside a run takes no time, and ends at its exact moment.

>>> import anyio
>>> from kayrx.testing import run_virtual
>>> async def two_hours() -> tuple[int, float]:
...     ticks = await (kx.interval(60) >> kx.take(120) >> kx.to_list())
...     return len(ticks), anyio.current_time()
>>> run_virtual(two_hours), run_virtual(two_hours, "trio")
((120, 7200.0), (120, 7200.0))

It spans ``await``: kayrx, anyio, asyncio and Rx (`rx_scheduler`, for timers outside a graph) see one clock.  It
stands while a worker thread is at work.  Without a loop, ``graph.run(world=virtual_world())`` sleeps no more.

**Laws**: one call asks all that a node must keep: the same answer for every chunk size, fused and not, on all
backends and faces; Rx grammar; errors forwarded; sources released; nothing left alive; one fate an item.

>>> from kayrx.testing import laws
>>> async def double(x: int) -> int:
...     return 2 * x
>>> laws.check(kx.map(double) >> kx.buffer(count=2), [1, 2, 3], expect=[[2, 4], [6]])

**Schedules**: the order in which ready tasks run is drawn from a seed, which a failing test prints.

>>> from kayrx.testing import Schedule
>>> for schedule in Schedule(1).others(10):
...     assert schedule.run(two_hours) == (120, 7200.0)

**Faults**: which call of which function raises or comes late, drawn from a seed, and a log of what has happened.

>>> from kayrx.testing import Faults
>>> faults = Faults(seed=1, raising=0.5)
>>> graph = kx.source(range(5)) >> kx.map(faults.function(abs)) >> kx.retry(50)
>>> graph.collect(), len(faults.log) > 0
([0, 1, 2, 3, 4], True)

**Random graphs**: `kayrx.testing.strategies` gives hypothesis graphs with an oracle in plain Python beside them.

>>> from hypothesis import given
>>> from kayrx.testing.strategies import graphs, numbers
>>> @given(graphs(), numbers())
... def same(drawn, items):
...     assert (kx.source(items) >> drawn.graph).collect() == drawn.oracle(items)
>>> same()

**Left behind**: threads, files and tasks that outlive a block.

>>> from kayrx.testing import left_behind
>>> with left_behind() as left:
...     _ = (kx.source([1]) >> kx.map(abs, on=kx.threads(2))).run()
>>> bool(left)
False

**Probes**: `kayrx.testing.probes` has a subscriber that checks the rules of Reactive Streams and a publisher
driven by hand.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False

if TYPE_CHECKING:
    from kayrx.testing import laws
    from kayrx.testing.clock import VirtualClock, VirtualLoop, run_virtual, virtual_world
    from kayrx.testing.diagram import MarbleError
    from kayrx.testing.faults import Fault, Faults
    from kayrx.testing.left import Left, left_behind
    from kayrx.testing.marble import marbles
    from kayrx.testing.rx import rx_scheduler
    from kayrx.testing.schedules import Schedule
    from kayrx.testing.trace import Trace

_HOMES = {
    "kayrx.testing.clock": "VirtualClock VirtualLoop run_virtual virtual_world",
    "kayrx.testing.diagram": "MarbleError",
    "kayrx.testing.faults": "Fault Faults",
    "kayrx.testing.left": "Left left_behind",
    "kayrx.testing.marble": "marbles",
    "kayrx.testing.rx": "rx_scheduler",
    "kayrx.testing.schedules": "Schedule",
    "kayrx.testing.trace": "Trace",
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [
    "Fault", "Faults", "Left", "MarbleError", "Schedule", "Trace", "VirtualClock", "VirtualLoop", "laws",
    "left_behind", "marbles", "run_virtual", "rx_scheduler", "virtual_world",
]


def __getattr__(name: str) -> object:
    if name in __all__:
        home = import_module(_HOME.get(name, f"{__name__}.{name}"))
        value: object = getattr(home, name) if name in _HOME else home
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

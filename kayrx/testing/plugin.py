"""The pytest plugin: a fixture for each part of the kit, and failures that print what is needed to repeat them.

Installed with kayrx (``pip install kayrx[testing]``) it is there by itself; otherwise, or to be explicit, write
``pytest_plugins = ["kayrx.testing.plugin"]`` in conftest.py.

``virtual_time``  `run_virtual`: ``virtual_time(main, backend="asyncio")``
``marbles``       `marbles`; a failing comparison prints the strings below each other
``laws``          `kayrx.testing.laws`: ``laws.check(graph, items)``
``schedule``      a `Schedule` with a new seed for each test, printed if the test fails
``faults``        makes a `Faults` with that seed: ``faults(raising=0.2)``; what was injected is printed too
``left_behind``   fails the test if a thread, file or task of it is alive at its end

``pytest --kayrx-seed=N`` repeats a test with the seed that its failure printed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

try:
    import pytest
except ImportError:
    from kayrx.errors import MissingDependency

    raise MissingDependency("pip install kayrx[testing]") from None

if TYPE_CHECKING:  # what a test does not use must not cost pytest's start
    from kayrx.testing.faults import Faults
    from kayrx.testing.left import Left
    from kayrx.testing.schedules import Schedule

SEED: pytest.StashKey[int] = pytest.StashKey()
MADE: pytest.StashKey[list[Faults]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("kayrx").addoption(
        "--kayrx-seed", type=int, default=None, metavar="N",
        help="the seed of the fixtures `schedule` and `faults`: what a failing test has printed")


def pytest_assertrepr_compare(op: str, left: Any, right: Any) -> list[str] | None:
    """The strings of a marble test below each other."""
    module = type(left).__module__
    if op != "==" or module != "kayrx.testing.trace" or not isinstance(right, (str, list, tuple)):
        return None
    trace, what = getattr(left, "trace", left), "came out" if not hasattr(left, "trace") else "held"
    return ["the diagrams differ", *trace.told(right, what)]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
        item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and SEED in item.stash:
        seed = item.stash[SEED]
        told = [f"seed {seed}; repeat with: pytest {item.nodeid!r} --kayrx-seed={seed}"]
        told += [str(injected) for made in item.stash.get(MADE, []) for injected in made.log]
        report.sections.append(("kayrx", "\n".join(told)))
    return report


def seed_of(request: pytest.FixtureRequest) -> int:
    """The seed of a test: that of the command line, else a new one."""
    stash = request.node.stash
    if SEED not in stash:
        given = request.config.getoption("--kayrx-seed")
        stash[SEED] = random.SystemRandom().getrandbits(32) if given is None else given
    seed: int = stash[SEED]
    return seed


@pytest.fixture
def virtual_time() -> Callable[..., Any]:
    """``virtual_time(main, backend="asyncio")`` runs an async function on virtual time."""
    from kayrx.testing.clock import run_virtual

    return run_virtual


@pytest.fixture
def marbles() -> Callable[..., Any]:
    """``marbles(graph, *sources)``, to be compared with a string."""
    from kayrx.testing.marble import marbles

    return marbles


@pytest.fixture
def laws() -> ModuleType:
    """``laws.check(graph, items)``."""
    from kayrx.testing import laws

    return laws


@pytest.fixture
def schedule(request: pytest.FixtureRequest) -> Schedule:
    """``schedule.run(main)`` runs an async function on virtual time, its tasks in an order drawn from a seed."""
    from kayrx.testing.schedules import Schedule

    return Schedule(seed_of(request))


@pytest.fixture
def faults(request: pytest.FixtureRequest) -> Callable[..., Faults]:
    """``faults(raising=0.1, ...)`` makes a `Faults` with the test's seed."""
    from kayrx.testing.faults import Faults

    made: list[Faults] = request.node.stash.setdefault(MADE, [])
    seed = seed_of(request)

    def make(**options: Any) -> Faults:
        made.append(Faults(**{"seed": seed} | options))
        return made[-1]

    return make


@pytest.fixture
def left_behind() -> Iterator[Left]:
    """Fails the test if something of it is alive at its end; inside an async test, tasks are looked at too."""
    from kayrx.testing.left import left_behind

    with left_behind() as left:
        yield left
    if left:
        pytest.fail(f"left behind: {left}", pytrace=False)

"""The pytest plugin: its fixtures, and what it prints when a test fails."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

import kayrx as kx

ROOT = Path(kx.__file__).parent.parent


# -- the fixtures, used ------------------------------------------------------------------------------


def test_marbles_is_a_fixture(marbles: Any) -> None:
    """`kayrx.testing.marbles`."""
    assert marbles(kx.take(2), "-a-b-c|") == "-a-(b|)"


def test_laws_is_a_fixture(laws: Any) -> None:
    """`kayrx.testing.laws`."""
    laws.check(kx.take(2), [1, 2, 3], expect=[1, 2])


def test_virtual_time_is_a_fixture(virtual_time: Any, loop: str) -> None:
    """`kayrx.testing.run_virtual`."""
    async def main() -> float:
        await anyio.sleep(3600)
        return anyio.current_time()

    assert virtual_time(main, loop) == 3600


def test_schedule_and_faults_share_the_test_s_seed(schedule: Any, faults: Any, loop: str) -> None:
    """One number repeats the whole test."""
    made = faults(raising=0.5)

    async def main() -> Any:
        return await (kx.source(range(9)) >> kx.map(made.function(abs)) >> kx.retry(99) >> kx.to_list())

    assert schedule.run(main, loop) == list(range(9))
    assert made.seed == schedule.seed and faults(seed=3).seed == 3


async def test_left_behind_is_a_fixture(left_behind: Any) -> None:
    """It looks at the end of the test."""
    await (kx.source([1]) >> kx.map(abs, on=kx.threads(1)))


# -- a project that uses it ----------------------------------------------------------------------------

PROJECT = """
import threading, kayrx as kx

def test_marbles(marbles):
    source = "--a--b--c|"
    wrong_ = "--a----(b|)"
    assert marbles(kx.take(2), source) == wrong_

def test_held(marbles):
    assert marbles(kx.take(2), "--a--b--c|").subscribed == "^------!"

def test_values(marbles):
    assert marbles(kx.buffer(count=2), "a-b|") == "--a|"

def test_schedule(schedule):
    assert False

def test_faults(faults):
    half = faults(calls={"half": [2]}).function(lambda x: x / 2, "half")
    (kx.source([1, 2, 3]) >> kx.map(half)).run()

def test_left(left_behind):
    threading.Thread(target=threading.Event().wait, name="forgotten", daemon=True).start()

def test_plain():
    assert False
"""


@pytest.fixture(scope="module")
def pytest_in(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Run pytest over files in a directory of its own and give what it prints."""
    def run(*arguments: str, **files: str) -> str:
        home = tmp_path_factory.mktemp("project")
        for name, text in files.items():
            path = home / name.replace("__", "/").replace("_py", ".py").replace("_txt", ".txt")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        (home / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
        env = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{home}", "COLUMNS": "120"}
        env.pop("PYTEST_ADDOPTS", None)
        done = subprocess.run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:asyncio",
                               *arguments], cwd=home, env=env,
                              capture_output=True, text=True, timeout=120, check=False)
        return done.stdout + done.stderr
    return run


@pytest.fixture(scope="module")
def printed(pytest_in: Callable[..., str]) -> str:
    """What a failing project prints, with the plugin named in its conftest."""
    return pytest_in(conftest_py='pytest_plugins = ["kayrx.testing.plugin"]', test_it_py=PROJECT)


def test_a_wrong_diagram_is_printed_below_the_right_one(printed: str) -> None:
    """Source, expected and what came out stand below each other, then how long the source was held."""
    assert re.search(r"""the diagrams differ
E +source    --a--b--c\|
E +graph     take
E +expected  --a----\(b\|\)
E +came out  --a--\(b\|\)
E +held      \^----!""", printed)
    assert re.search(r"expected  \^------!\nE +held      \^----!", printed)
    assert "came out  --A|   where A = ['a', 'b']" in printed


def test_a_failing_test_prints_its_seed_and_faults(printed: str) -> None:
    """The line to repeat it, and what was injected; tests without a seed print none."""
    seeds = re.findall(r"seed (\d+); repeat with: pytest 'test_it\.py::(\w+)' --kayrx-seed=(\d+)", printed)
    assert [(a == b, name) for a, name, b in seeds] == [(True, "test_schedule"), (True, "test_faults")]
    assert "call 2 of 'half': raised Fault(\"call 2 of 'half'\")" in printed


def test_what_a_test_leaves_behind_fails_it(printed: str) -> None:
    """By its name."""
    assert "left behind: Left(threads=['forgotten']" in printed


def test_a_seed_on_the_command_line_is_taken(pytest_in: Callable[..., str]) -> None:
    """``--kayrx-seed`` repeats the run."""
    test = "def test_it(schedule, faults):\n    assert (schedule.seed, faults().seed) == (42, 42)"

    assert "1 passed" in pytest_in("-p", "kayrx.testing.plugin", "--kayrx-seed=42", test_it_py=test)


def test_installed_and_named_it_is_one_plugin(pytest_in: Callable[..., str]) -> None:
    """The entry point has the module's name, so naming the module too does not register it twice."""
    files = {"kit-1.dist-info__entry_points_txt": '[pytest11]\nkayrx.testing.plugin = kayrx.testing.plugin\n',
             "kit-1.dist-info__METADATA": "Metadata-Version: 2.1\nName: kit\nVersion: 1\n",
             "test_it_py": "import kayrx as kx\ndef test_it(marbles):\n    assert marbles(kx.take(1), 'a|') == '(a|)'"}
    named = {"conftest_py": 'pytest_plugins = ["kayrx.testing.plugin"]'}

    assert "1 passed" in pytest_in(**files)
    assert "1 passed" in pytest_in(**files, **named)
    assert "1 passed" in pytest_in("-p", "kayrx.testing.plugin", **files, **named)
    declared = (ROOT / "pyproject.toml").read_text()
    assert '"kayrx.testing.plugin" = "kayrx.testing.plugin"' in declared


def test_the_plugin_costs_pytest_s_start_nothing() -> None:
    """Neither reactivex nor anyio is loaded by it."""
    code = "import sys, kayrx.testing.plugin; print([m for m in ('reactivex', 'anyio', 'trio') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)},
                          capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.strip() == "[]"

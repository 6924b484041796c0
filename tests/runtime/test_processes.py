"""Worker processes: functions that compute, hang, raise and die beside the run, and never outlive it."""

from __future__ import annotations

import contextvars
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

import kayrx as kx
from kayrx.testing import left_behind
from tests.runtime import elsewhere as there

Virtual = Callable[[Any], Any]


def alive(pid: int) -> bool:
    """True if there is such a process, and it is more than a name that nobody has asked for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def gone_soon(pids: list[int]) -> bool:
    """True once none is alive; what has been killed may take a moment to die."""
    moments = iter(range(10_000))
    while any(alive(pid) for pid in pids) and next(moments, None) is not None:
        time.sleep(0.001)
    return bool(pids) and not any(alive(pid) for pid in pids)


@pytest.fixture
def pipe(tmp_path: Path) -> str:
    """A named pipe: reading it hangs until somebody writes."""
    os.mkfifo(path := tmp_path / "pipe")
    return str(path)


def seen(pipe: str) -> list[int]:
    """The processes that have told of themselves beside the pipe."""
    return [int(p.suffix[1:]) for p in Path(pipe).parent.glob("pipe.*")]


# -- answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_the_answers_come_in_order_from_other_processes(batch: int, loop: str) -> None:
    """Every item once, in order, from ``workers`` processes at most, which are gone when the run is."""
    place = kx.processes(2, batch=batch)
    with left_behind() as left:
        out = (kx.source(range(100)) >> kx.map(there.place, on=place)).collect(backend=loop)
        loose = (kx.source(range(100)) >> kx.map(there.place, on=place, ordered=False)).collect(backend=loop)

    assert [x for x, _ in out] == sorted(x for x, _ in loose) == list(range(100))
    pids = {pid for _, pid in out + loose}
    assert os.getpid() not in pids and len({pid for _, pid in out}) <= 2
    assert not left and not any(alive(pid) for pid in pids)


def test_no_worker_is_started_for_no_item(loop: str) -> None:
    """Workers start when items come: none for an empty source, one for one item."""
    out = (kx.source([1]) >> kx.map(there.place, on=kx.processes(8)) >> kx.map(there.place, on=kx.processes(8)))

    with left_behind() as left:
        assert (kx.source([]) >> kx.map(there.HereOnly(), on=kx.processes(2))).collect(backend=loop) == []
        ((value, _),) = out.collect(backend=loop)
    assert value[0] == 1 and not left


def test_a_synchronous_run_uses_them_too_and_so_does_one_beside_a_loop() -> None:
    """``run()`` without a loop, and inside one; events on, which carry ids beside the items."""
    graph = kx.source([-1, -2]) >> kx.map(abs, on=kx.processes(1, batch=2)) >> kx.map(kx.it + 1) >> kx.to_list()

    async def main() -> Any:
        return graph.run()

    assert graph.run() == graph.run(events=True) == anyio.run(main) == [2, 3]


def test_large_items_and_results_pass(loop: str) -> None:
    """Items and results far larger than a pipe holds, alone and many to a batch, and many small ones."""
    items = [b"x" * 300_000, b"y", b"z" * 3_000_000, b""]

    for batch in (1, 4):
        assert (kx.source(items) >> kx.map(there.big, on=kx.processes(1, batch=batch))).collect(
            backend=loop) == [x * 2 for x in items]
    many = [b"w" * 10] * 5000
    assert (kx.source(many) >> kx.map(there.big, on=kx.processes(1, batch=5000))).collect(backend=loop) == [
        x * 2 for x in many]


def test_in_flight_bounds_what_is_read_ahead(loop: str, watched: Any, pipe: str) -> None:
    """Two batches a worker are under way by default, and no more than ``in_flight`` ever."""
    async def main(place: kx.Placement, most: int) -> None:
        source = watched([1] * 50)
        async with (kx.source(source.source) >> kx.map(partial(there.stuck, pipe), on=place)).start() as run:
            while not seen(pipe):
                await anyio.sleep(0.001)
            await anyio.wait_all_tasks_blocked()
            assert source.read == most
            await run.cancel()
        for told in Path(pipe).parent.glob("pipe.*"):
            told.unlink()

    anyio.run(main, kx.processes(1, batch=4), 8, backend=loop)
    anyio.run(main, kx.processes(2, in_flight=3), 3, backend=loop)


# -- context, resources --------------------------------------------------------------------------


hidden: contextvars.ContextVar[Any] = contextvars.ContextVar("hidden", default="nobody")


@pytest.mark.parametrize("batch", [1, 4])
def test_context_variables_travel_where_they_can(batch: int, loop: str) -> None:
    """A module's variable whose value pickles is set in the worker, for each item anew; any other is at its default."""
    graph = kx.source(range(4)) >> kx.map(there.named, on=kx.processes(1, batch=batch)) >> kx.to_list()

    async def main() -> Any:
        before = await graph
        there.name.set("caller")
        hidden.set(lambda: None)  # does not pickle: no reason to fail
        carried = await graph
        there.name.set(lambda: None)
        return before, carried, await graph

    assert anyio.run(main, backend=loop) == (["nobody"] * 4, ["caller"] * 4, ["nobody"] * 4)


def lines(path: Path) -> list[tuple[str, str]]:
    return [tuple(line.split()) for line in path.read_text().splitlines()]  # type: ignore[misc]


def test_a_resource_is_opened_once_a_worker_and_closed_with_it(loop: str, tmp_path: Path) -> None:
    """Opened before the worker's first item and closed when the run ends, in the worker itself."""
    path = tmp_path / "log"
    use = partial(there.logged, kx.resource(there.Log(str(path))), twice=True)

    assert (kx.source(range(9)) >> kx.map(use, on=kx.processes(1))).collect(backend=loop) == list(range(9))

    said = lines(path)
    assert [what for what, _ in said] == ["open", *["use"] * 9, "close"]
    assert len({pid for _, pid in said}) == 1 and said[0][1] != str(os.getpid())


def test_a_resource_is_opened_once_a_thread_and_closed_with_it(loop: str, tmp_path: Path) -> None:
    """The same words in threads."""
    path = tmp_path / "log"
    use = partial(there.logged, log=kx.resource(there.Log(str(path))))

    assert (kx.source(range(9)) >> kx.map(lambda x: x) >> kx.map(
        partial(lambda x, log: there.logged(log, x), log=use.keywords["log"]), on=kx.threads(2))).collect(
            backend=loop) == list(range(9))

    said = [what for what, _ in lines(path)]
    assert sorted(said) == ["close"] * 2 + ["open"] * 2 + ["use"] * 9


def nothing(x: Any, made: Any = None) -> Any:
    return x


@pytest.mark.parametrize(("factory", "says"), [(there.broken, "no such model"), (there.Later, "no event loop")])
def test_what_cannot_be_opened_fails_the_run(factory: Any, says: str, loop: str) -> None:
    """In a process the run fails as it starts the worker; in a thread each item fails with the factory's own error."""
    use, letters = partial(nothing, made=kx.resource(factory)), []  # type: ignore[var-annotated]

    with pytest.raises(kx.RunError, match=f"could not start.*{says}"):
        (kx.source([1]) >> kx.map(use, on=kx.processes(1)) >> kx.skip_errors()).collect(backend=loop)
    (kx.source([1]) >> kx.map(use, on=kx.threads(1)) >> kx.dead_letter(letters)).run(backend=loop)
    assert says in str(letters[0].error)


def test_a_function_that_cannot_be_read_there_fails_the_run(loop: str, noted: Any) -> None:
    """The error names the node and says what was wrong; no guard takes it for the item's failure."""
    graph = kx.source([1]) >> kx.map(there.HereOnly(), on=kx.processes(1)).named("here") >> kx.skip_errors()

    with left_behind() as left, pytest.raises(kx.RunError, match=r"could not start: Import.*not here") as caught:
        graph.collect(backend=loop)
    assert "'here' (map)" in noted(caught.value)[0] and not left


# -- failures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 9])
def test_an_exception_keeps_its_type_its_notes_and_its_traceback(batch: int, loop: str, noted: Any) -> None:
    """Also one that does not pickle by itself; the worker's traceback is a note, and the item is named."""
    graph = kx.source([0, 1]) >> kx.map(there.fails, on=kx.processes(1, batch=batch)).named("work")

    with pytest.raises(there.Awkward) as caught:
        graph.collect(backend=loop)

    error = caught.value
    assert str(error) == "7: seven" and error.code == 7
    own, trace, note = error.__notes__
    assert own == "a note of the function's own" and "'work' (map)" in note and note.endswith("item 1")
    assert trace.startswith("in worker process") and "elsewhere.py" in trace and "KeyError: 'the cause'" in trace


def test_exceptions_of_every_kind_come_back(loop: str) -> None:
    """OSErrors keep their fields; a class that no module holds becomes a RunError that says what it was."""
    letters: list[kx.Letter] = []
    graph = kx.source([2, 3, 5]) >> kx.map(there.fails, on=kx.processes(1)) >> kx.dead_letter(letters)

    assert graph.collect(backend=loop) == [5]
    lost, local = (letter.error for letter in letters)
    assert isinstance(lost, FileNotFoundError) and (lost.errno, lost.filename) == (2, "some.txt")
    assert isinstance(local, kx.RunError) and "fails.<locals>.Local" in str(local) and "hidden" in str(local)
    with pytest.raises(RuntimeError, match="StopIteration"):
        (kx.source([4]) >> kx.map(there.fails, on=kx.processes(1))).collect(backend=loop)


@pytest.mark.parametrize("batch", [1, 9])
def test_what_does_not_pickle_fails_its_own_item(batch: int, loop: str) -> None:
    """An item on its way there or a result on its way back is a RunError of that item alone."""
    letters: list[kx.Letter] = []
    items = [0, lambda: None, 1, 2, there.HereOnly(), 5]
    graph = kx.source(items) >> kx.map(there.unsent, on=kx.processes(1, batch=batch)) >> kx.dead_letter(letters)

    assert graph.collect(backend=loop) == [0, 5]
    letters.sort(key=lambda letter: items.index(letter.item))  # the calls of a batch fail at one moment
    said = [str(letter.error) for letter in letters]
    assert [type(letter.error).__name__ for letter in letters] == ["RunError", "RunError", "RunError", "ImportError"]
    assert "cannot be sent" in said[0] and "the result, a function, cannot be sent" in said[1]
    assert "cannot be read in this process" in said[2] and "not here" in said[3]


# -- death ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 4, 10])
def test_a_killed_worker_fails_the_item_it_had_in_hand(batch: int, loop: str, noted: Any) -> None:
    """WorkerDied names the node, the item and the signal; what was done before is kept, what came after is done."""
    work = kx.source(range(10)) >> kx.map(there.dies, on=kx.processes(2, batch=batch)).named("work")
    letters: list[kx.Letter] = []

    with left_behind() as left, pytest.raises(kx.WorkerDied, match=r"dies was killed by SIGKILL .* on 3\n") as caught:
        work.collect(backend=loop)
    assert "'work' (map)" in noted(caught.value)[0] and noted(caught.value)[0].endswith("item 3") and not left

    assert (work >> kx.dead_letter(letters)).collect(backend=loop) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert [letter.item for letter in letters] == [3] and isinstance(letters[0].error, kx.WorkerDied)


def test_a_worker_that_exits_is_as_one_that_was_killed(loop: str) -> None:
    """The exit code is told."""
    with pytest.raises(kx.WorkerDied, match="exited with code 7 while it worked on 'it'"):
        (kx.source(["it"]) >> kx.map(there.exits, on=kx.processes(1))).collect(backend=loop)


def test_a_retry_finds_a_new_worker(loop: str, tmp_path: Path) -> None:
    """The item is tried again in another process, and the run goes on there."""
    work = kx.map(partial(there.dies_once, str(tmp_path / "died")), on=kx.processes(1))

    out = (kx.source(range(6)) >> work >> kx.retry(2)).collect(backend=loop)

    assert [x for x, _ in out] == list(range(6))
    first, second = {pid for x, pid in out if x < 3}, {pid for x, pid in out if x >= 3}
    assert len(first) == len(second) == 1 and first != second


def test_a_worker_that_was_killed_while_it_had_nothing_is_replaced(loop: str) -> None:
    """No item is to blame, so none fails."""
    async def main() -> list[int]:
        pids: list[int] = []

        async def kill_it(pair: tuple[int, int]) -> None:
            if not pids:
                os.kill(pair[1], signal.SIGKILL)
                while alive(pair[1]):
                    await anyio.sleep(0.001)
            pids.append(pair[1])

        async def slowly() -> Any:
            for x in range(3):
                while len(pids) < x:
                    await anyio.sleep(0.001)
                yield x

        await (kx.source(slowly) >> kx.map(there.place, on=kx.processes(1)) >> kx.each(kill_it))
        return pids

    first, second, third = anyio.run(main, backend=loop)
    assert first != second == third


# -- time ----------------------------------------------------------------------------------------


def test_a_timeout_kills_the_worker_and_the_next_attempt_has_a_new_one(loop: str, pipe: str) -> None:
    """Starting a worker is no part of a call's time, so an attempt has all of it."""
    work = kx.map(partial(there.stuck, pipe), on=kx.processes(1))
    graph = kx.source(range(3)) >> work >> kx.timeout(0.05) >> kx.retry(3) >> kx.fallback(lambda x: (x, None))

    with left_behind() as left:
        out = graph.collect(backend=loop)

    assert [x for x, _ in out] == [0, 1, 2] and out[1][1] is None and out[0][1] != out[2][1]
    assert len(seen(pipe)) == 3 and not any(alive(pid) for pid in seen(pipe)) and not left


def test_what_a_killed_worker_has_started_is_killed_too(loop: str, pipe: str) -> None:
    """A worker leads a process group of its own."""
    graph = kx.source([0]) >> kx.map(partial(there.parent, pipe), on=kx.processes(1)) >> kx.to_list()

    async def main() -> None:
        async with graph.start() as run:
            while not seen(pipe):
                await anyio.sleep(0.001)
            await run.cancel()

    anyio.run(main, backend=loop)
    assert gone_soon(seen(pipe))


def test_a_death_is_seen_though_a_child_lives_on(loop: str, pipe: str) -> None:
    """The child has none of the pipes, and goes with the worker's group."""
    with pytest.raises(kx.WorkerDied):
        (kx.source([0]) >> kx.map(partial(there.dies_with_a_child, pipe), on=kx.processes(1))).collect(backend=loop)
    assert gone_soon(seen(pipe))


def test_stop_lets_the_calls_under_way_finish(loop: str, pipe: str) -> None:
    """``stop()`` waits for them; at its deadline they are killed, and nothing is abandoned."""
    graph = kx.source([1]) >> kx.map(partial(there.stuck, pipe), on=kx.processes(1)) >> kx.to_list()

    async def main(deadline: float | None) -> Any:
        async with graph.start() as run:
            while not seen(pipe):
                await anyio.sleep(0.001)
            async with anyio.create_task_group() as group:
                group.start_soon(run.stop, deadline)
                while deadline is None:
                    try:
                        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
                        break
                    except OSError:  # it does not read yet
                        await anyio.sleep(0.001)
        return run

    with left_behind() as left:
        (pid,) = {pid for _, pid in anyio.run(main, None, backend=loop).result}
        Path(f"{pipe}.{pid}").unlink()
        run = anyio.run(main, 0.01, backend=loop)
    assert run.state == "cancelled" and not any(e["event"] == "abandoned" for e in run.events())
    assert not any(alive(pid) for pid in seen(pipe)) and not left


# -- as it is written ----------------------------------------------------------------------------


@pytest.mark.parametrize(("write", "says"), [
    (lambda: kx.map(lambda x: x, on=kx.processes(1)), r"cannot be sent to another process .*top of a module"),
    (lambda: kx.map(partial(there.logged, lambda: None), on=kx.processes(1)), "cannot be sent to another process"),
    (lambda: kx.map(abs, on=3), r"map\(abs\): on= says where .* got int; write on=kx\.threads"),
    (lambda: kx.source([1], on=3), r"source\(x, on=\): .* on=kx\.threads\(1\)"),
    (lambda: kx.map(there.waits, on=kx.processes(1)), r"map\(waits\): an async function runs on the event loop"),
    (lambda: kx.map(there.waits, on=kx.threads(1)), "make it synchronous"),
    (lambda: kx.map(partial(nothing, made=kx.resource(dict))), "say where: on="),
    (lambda: kx.source([1], on=kx.processes(1)), r"on=kx\.threads\(1\)"),
    (lambda: kx.processes(0), r"processes\(workers\)"), (lambda: kx.processes(1, batch=0), r"processes\(batch\)"),
    (lambda: kx.processes(1, linger=-1), r"processes\(linger\)"),
    (lambda: kx.processes(1, batch=8, in_flight=4), r"in_flight must be a whole number >= 8"),
])
def test_wrong_arguments_fail_where_they_are_written(write: Any, says: str) -> None:
    """A GraphError that names the node and the remedy, before anything is started."""
    with pytest.raises(kx.GraphError, match=says):
        write()


def test_a_function_of_an_interactive_session_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other process can find it."""
    monkeypatch.setattr(nothing, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "nothing", nothing, raising=False)
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "script.py", raising=False)
    kx.map(nothing, on=kx.processes(1))
    monkeypatch.delattr(sys.modules["__main__"], "__file__")

    with pytest.raises(kx.GraphError, match=r"interactive session.*put it into a module"):
        kx.map(nothing, on=kx.processes(1))


def test_a_guarded_unit_of_several_nodes_has_no_workers() -> None:
    """Its calls run in place: a CompileError with the remedy."""
    unit = kx.unit(kx.map(abs, on=kx.threads(1)) >> kx.map(abs))

    assert (kx.source([-1]) >> unit).collect() == [1]
    with pytest.raises(kx.CompileError, match="write the guard directly after that node"):
        (kx.source([1]) >> unit >> kx.retry(2)).compile()


def test_batches_cannot_be_timed() -> None:
    """Which of a batch took the time nobody can tell: a CompileError with the remedy."""
    graph = kx.source([1]) >> kx.map(abs, on=kx.processes(1, batch=2)) >> kx.timeout(1)

    with pytest.raises(kx.CompileError, match="whose items go 2 to a call; say batch=1"):
        graph.compile()


def test_the_graph_is_a_value_and_the_plan_tells_of_it() -> None:
    """It pickles, compares, and explains where it runs."""
    graph = kx.source([1]) >> kx.map(abs, on=kx.processes(2, batch=8))

    assert pickle.loads(pickle.dumps(graph)) == graph
    assert "abs on 2 worker processes, 8 items to a call" in graph.explain()
    assert "abs: 32 calls under way" in graph.explain()


# -- scripts -------------------------------------------------------------------------------------


SCRIPT = """
import kayrx as kx
class Point:
    def __init__(self, x): self.x = x
def shifted(point): return Point(point.x + 1)
{guard}
    points = (kx.source([Point(1)]) >> kx.map(shifted, on=kx.processes(1))).collect()
    print(points[0].x, type(points[0]) is Point)
"""


def script(tmp_path: Path, guard: str) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT.format(guard=guard))
    return subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=60)


def test_what_a_script_defines_goes_there_and_back(tmp_path: Path) -> None:
    """Functions and classes of ``__main__`` are found in the worker, which runs the script under another name."""
    assert script(tmp_path, 'if __name__ == "__main__":').stdout == "2 True\n"


def test_a_worker_does_not_outlive_a_killed_parent(tmp_path: Path, pipe: str) -> None:
    """Killed in the middle of a call, the parent can clean up nothing; the worker ends by itself."""
    code = ("import kayrx as kx; from functools import partial; from tests.runtime import elsewhere as there; "
            f"(kx.source([1]) >> kx.map(partial(there.stuck, {pipe!r}), on=kx.processes(1))).run()")
    parent = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    while not seen(pipe):
        assert parent.poll() is None
        time.sleep(0.001)
    parent.kill()
    parent.wait()

    assert gone_soon(seen(pipe))


def test_a_script_without_a_main_guard_is_told_so(tmp_path: Path) -> None:
    """Instead of starting workers that start workers."""
    done = script(tmp_path, "if True:")

    assert done.returncode == 1 and 'write what runs the graph under if __name__ == "__main__":' in done.stderr

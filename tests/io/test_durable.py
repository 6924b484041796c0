"""An acknowledged letter is on disk: under kill -9, on a full disk, when a sync fails, by the order of system calls.

Looked at from outside, in child processes (writer.py).  The order of system calls is seen by strace, without which
these tests fail: a store whose order nobody has looked at is not known to be durable.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kayrx as kx

WRITER = [sys.executable, str(Path(__file__).parent / "writer.py")]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
KINDS = ["sqlite", "json"]
KILLS = 1000 if os.environ.get("KAYRX_NIGHTLY") else 50 if os.environ.get("CI") else 20


def store_at(kind: str, path: Path) -> Any:
    return {"sqlite": kx.sqlite_letters, "json": kx.json_letters}[kind](path)


def written(kind: str, path: Path, *more: str, before: tuple[str, ...] = ()) -> list[str]:
    """What a writer says, run to its end."""
    done = subprocess.run([*before, *WRITER, kind, str(path), *more], env=ENVIRONMENT, capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def acknowledged(lines: list[str]) -> list[str]:
    return [line.removeprefix("ack ") for line in lines if line.startswith("ack ")]


def whole(kind: str, path: Path) -> list[str]:
    """The items in a store, each letter of which must be whole."""
    found = list(store_at(kind, path).items())
    assert all(str(x.error) == x.item * 20 and x.replayable and x.kind == "ValueError" for x in found)
    return [x.item for x in found]


# -- kill -9 -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_no_acknowledged_letter_is_lost_to_a_kill(kind: str, tmp_path: Path) -> None:
    """Many writers, one after another on the same file, each killed at a random moment: no acknowledged letter is lost,
    garbled or doubled, and at most the one that was being written is there unacknowledged."""
    path, draw, acked = tmp_path / "letters", random.Random(7), []
    waiting = [begun(kind, path, f"w{n}") for n in range(3)]
    for number in range(KILLS):
        writer = waiting.pop(0)
        if number + 3 < KILLS:
            waiting.append(begun(kind, path, f"w{number + 3}"))
        writer.stdin.write(b"go\n")  # type: ignore[union-attr]
        writer.stdin.close()  # type: ignore[union-attr]
        lines = [writer.stdout.readline() for _ in range(draw.randrange(1, 30))]  # type: ignore[union-attr]
        for _ in range(draw.randrange(20_000)):
            pass  # somewhere within the next letter
        writer.kill()
        lines += writer.stdout.readlines()  # type: ignore[union-attr]
        writer.wait()
        writer.stdout.close()  # type: ignore[union-attr]
        acked += acknowledged([line.decode().strip() for line in lines if line.endswith(b"\n")])

        if (number + 1) % (KILLS // 10):
            continue
        found = whole(kind, path)
        assert len(found) == len(set(found))
        assert set(acked) <= set(found)
        assert len(found) - len(acked) <= number + 1
    assert len(acked) > 100


def begun(kind: str, path: Path, prefix: str) -> subprocess.Popen[bytes]:
    """A writer that has been imported and waits, so that many do not take the time of as many starts."""
    code = f"import sys, kayrx, runpy; kayrx.sqlite_letters, kayrx.Graph; sys.stdin.readline(); sys.argv = " \
           f"{[WRITER[1], kind, str(path), prefix, '100000']!r}; runpy.run_path({WRITER[1]!r}, run_name='__main__')"
    return subprocess.Popen([sys.executable, "-c", code], env=ENVIRONMENT, stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE)


@pytest.mark.parametrize("kind", KINDS)
def test_processes_may_write_at_once(kind: str, tmp_path: Path) -> None:
    """Four writers that also create the file at the same moment."""
    path = tmp_path / "letters"
    writers = [subprocess.Popen([*WRITER, kind, str(path), f"w{n}", "10"], env=ENVIRONMENT, stdout=subprocess.PIPE,
                                text=True) for n in range(4)]
    said = [writer.communicate(timeout=120)[0].splitlines() for writer in writers]

    assert [len(acknowledged(lines)) for lines in said] == [10] * 4
    assert sorted(whole(kind, path)) == sorted(f"w{n}-{i}" for n in range(4) for i in range(10))


# -- a full disk, a failing disk -----------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_is_the_items_failure(kind: str, tmp_path: Path) -> None:
    """The run fails at the letter that did not fit; all acknowledged ones are there, and later there may be more."""
    path = tmp_path / "letters"
    lines = written(kind, path, "w", "500", {"sqlite": "400000", "json": "90000"}[kind])

    acked = acknowledged(lines)
    assert 10 < len(acked) < 500
    assert re.match("failed (OperationalError: (disk I/O error|database or disk is full)|OSError: .*File too large)",
                    lines[-1])
    assert whole(kind, path)[:len(acked)] == acked and len(whole(kind, path)) == len(acked)
    assert acknowledged(written(kind, path, "later", "3")) == [f"later-{n}" for n in range(3)]
    assert whole(kind, path)[len(acked):] == [f"later-{n}" for n in range(3)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """A file system of 256 KiB; where none may be mounted, any, and writes that find no space from the 150th on."""
    where = tmp_path / "small"
    where.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(where)]
    if shutil.which("mount") and not subprocess.run(mount, capture_output=True).returncode:
        yield where, ()
        subprocess.run(["umount", str(where)], check=True)
    else:
        yield where, traced(tmp_path, "-e", "inject=pwrite64:error=ENOSPC:when=150+")


@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_is_really_full(kind: str, small_disk: tuple[Path, tuple[str, ...]]) -> None:
    """ENOSPC, where the test above has a limit of the process."""
    path = small_disk[0] / "letters"
    lines = written(kind, path, "w", "2000", before=small_disk[1])

    acked = acknowledged(lines)
    assert 10 < len(acked) < 2000 and "failed" in lines[-1] and ("full" in lines[-1] or "No space" in lines[-1])
    assert whole(kind, path) == acked


# -- system calls --------------------------------------------------------------------------------

CALL = re.compile(r"^\d+\s+(\w+)\((\d+)(?:<([^>]*)>)?(?:, \"(.*?)\"(?:\.\.\.)?, )?.*= (-?\d+)")


def traced(tmp_path: Path, *options: str) -> tuple[str, ...]:
    log = tmp_path / "trace"
    if not shutil.which("strace"):
        pytest.fail("the order of system calls is seen by strace, which is not here: apt-get install -y strace")
    before = ("strace", "-f", "-y", "-s", "8000", "-o", str(log), *options)
    if (refused := subprocess.run([*before, "true"], capture_output=True, text=True)).returncode:
        pytest.fail(f"strace may not trace a child here ({refused.stderr.strip()}): allow it, in a container with "
                    "--cap-add=SYS_PTRACE, or sysctl kernel.yama.ptrace_scope=0")
    return before


@pytest.mark.parametrize("kind", [*KINDS, "checkpoint"])
def test_a_letter_is_written_then_synced_then_acknowledged(kind: str, tmp_path: Path) -> None:
    """In that order, for each, and for each checkpoint: kill -9 alone does not show a sync that is missing."""
    before = traced(tmp_path, "-e", "trace=write,pwrite64,fsync,fdatasync")
    acked = acknowledged(written(kind, tmp_path / "letters", "w", "8", before=before))
    assert len(acked) == 8

    pending: set[str] = set()
    synced: set[str] = set()
    seen = []
    for line in (tmp_path / "trace").read_text(errors="replace").splitlines():
        call = CALL.match(line)
        if call is None:
            continue
        name, number, file, data = call[1], call[2], call[3] or "", call[4] or ""
        if "letters" in file and name in ("write", "pwrite64"):
            pending |= {item for item in acked if re.search(rf"(?<![\w-]){item * 20}(?![\w-])", data)}
        elif "letters" in file:
            synced |= pending
        elif number == "1" and data.startswith("ack "):
            item = data.removeprefix("ack ").removesuffix("\\n")
            assert item in pending and item in synced, f"{item} was acknowledged before it was synced"
            seen.append(item)
    assert seen == acked


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", ["fsync,fdatasync:error=EIO:when=6+", "pwrite64:error=ENOSPC:when=9+",
                                   "pwrite64:error=EIO:when=9+"])
def test_a_failing_disk_is_never_acknowledged(kind: str, fault: str, tmp_path: Path) -> None:
    """A sync or write that fails is the item's failure, and what was acknowledged before it is there."""
    path = tmp_path / "letters"
    lines = written(kind, path, "w", "30", before=traced(tmp_path, "-e", f"inject={fault}"))

    acked = acknowledged(lines)
    assert len(acked) < 30 and lines[-1].startswith("failed ")
    found = whole(kind, path)
    assert found[:len(acked)] == acked and len(found) <= len(acked) + 1


def test_a_checkpoint_that_was_not_synced_is_not_acknowledged(tmp_path: Path) -> None:
    """The run fails, and what was saved before is whole."""
    path = tmp_path / "letters"
    before = traced(tmp_path, "-e", "inject=fsync,fdatasync:error=EIO:when=9+")
    lines = written("checkpoint", path, "w", "30", before=before)

    acked = acknowledged(lines)
    text = kx.sqlite_checkpoints(path).open().load("checkpoint")
    assert len(acked) < 30 and "disk I/O error" in lines[-1]
    assert text is not None and any(f"w-{n}" * 20 in text for n in (len(acked) - 1, len(acked)))


@pytest.mark.parametrize("make", [kx.sqlite_letters, kx.json_letters])
def test_syncing_is_the_default_and_the_weaker_mode_is_named(make: Any, tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    """``fsync=False``, and nothing else, leaves it out."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(file))
    for fsync in (True, False):
        synced.clear()
        opened = make(tmp_path / f"letters {fsync}", fsync=fsync).factory()
        opened.append(kx.Letter("a", 1, "n", ValueError(), "", 1, 0.0))
        if make is kx.json_letters:
            assert bool(synced) is fsync
        else:
            assert opened.db.execute("PRAGMA synchronous").fetchone() == (2 if fsync else 1,)
            assert opened.db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        opened.close()

"""Files that grow: `tail` follows what is appended, through rotation and truncation."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

import kayrx as kx
from kayrx.testing import left_behind, run_virtual

Virtual = Callable[[Any], Any]


@pytest.fixture
def followed(loop: str, tmp_path: Path) -> Callable[..., list[str]]:
    """``followed(*steps)``: each step writes to the file; the lines that had come out by the end."""
    def run(*steps: Callable[[Path], object], **options: Any) -> list[str]:
        path, out = tmp_path / "app.log", list[str]()

        async def main() -> None:
            async with (kx.tail(path, **options) >> kx.sink(out)).start() as running:
                await anyio.sleep(1)
                for step in steps:
                    step(path)
                    await anyio.sleep(1)
                await running.stop()

        with left_behind() as left:
            run_virtual(main, loop)
        assert not left
        return out
    return run


def add(text: str | bytes) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        with open(path, "ab") as file:
            file.write(text if isinstance(text, bytes) else text.encode())
    return write


def test_it_waits_for_the_file_and_gives_what_is_appended(followed: Any) -> None:
    """A file that was not there is read from its first look on; lines come without their ends."""
    assert followed(lambda path: path.touch(), add("a\nb\r\n"), add("\nc\n")) == ["a", "b", "", "c"]


@pytest.mark.parametrize(("from_start", "out"), [(False, ["new"]), (True, ["old", "older", "new"])])
def test_what_is_there_counts_only_from_the_start(from_start: bool, out: list[str], loop: str, tmp_path: Path) -> None:
    """By default only what is appended comes out."""
    path = tmp_path / "app.log"
    path.write_text("old\nolder\n")

    async def main() -> Any:
        graph = kx.tail(path, from_start=from_start) >> kx.take(len(out)) >> kx.to_list()
        async with graph.start() as run:
            await anyio.sleep(1)
            add("new\n")(path)
        return run.result

    assert run_virtual(main, loop) == out


def test_half_a_line_waits_for_its_end(followed: Any) -> None:
    """Also in the middle of a character."""
    assert followed(lambda path: path.touch(), add("hal"), add("f "), add(b"\xc3"), add(b"\xa9\nrest")) == ["half é"]


def test_a_rotated_file_is_followed_to_its_successor(followed: Any) -> None:
    """What was written before the rotation comes first, then the new file from its beginning."""
    def rotate(path: Path) -> None:
        add("two\n")(path)
        os.rename(path, f"{path}.1")

    assert followed(lambda path: path.touch(), add("one\n"), rotate, add("three\n"), add("four\n")) == [
        "one", "two", "three", "four"]


def test_a_file_cut_short_is_read_from_its_beginning(followed: Any) -> None:
    """As after ``copytruncate``."""
    assert followed(lambda path: path.touch(), add("one\ntwo\n"), lambda path: os.truncate(path, 0), add("3\n")) == [
        "one", "two", "3"]


def test_a_large_file_comes_whole_and_in_order(followed: Any) -> None:
    """Many blocks."""
    lines = [f"line {n} {'x' * (n % 97)}" for n in range(5000)]
    assert followed(add("\n".join(lines) + "\n"), from_start=True) == lines


def test_a_line_beyond_the_limit_is_an_error(followed: Any) -> None:
    """It names the node, its line and the remedy; nothing is held without bound."""
    with pytest.raises(kx.RunError, match=r"'tail' \(tail\) at test_files\.py:\d+: .* longer than 10 bytes.*limit="):
        followed(lambda path: path.touch(), add("0123456789x"), limit=10)


@pytest.mark.parametrize("write", [lambda: kx.tail("x", every=-1), lambda: kx.tail("x", limit=0)])
def test_wrong_numbers_are_refused_where_they_are_written(write: Any) -> None:
    """GraphError."""
    with pytest.raises(kx.GraphError, match=r"tail.*must be"):
        write()

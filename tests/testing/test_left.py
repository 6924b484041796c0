"""`left_behind`: what is alive after a block and was not before."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from kayrx.testing import left_behind, run_virtual


def test_a_task_that_goes_on_is_left_behind(loop: str) -> None:
    """By its name, on both backends; a task that has ended is not."""
    async def main() -> Any:
        async with anyio.create_task_group() as group:
            with left_behind() as left:
                group.start_soon(anyio.sleep_forever, name="forgotten")
                await anyio.sleep(1)
            with left_behind() as nothing:
                async with anyio.create_task_group() as inner:
                    inner.start_soon(anyio.sleep, 1)
            group.cancel_scope.cancel()
        return left.tasks, nothing

    tasks, nothing = run_virtual(main, loop)
    assert tasks == ["forgotten"] and not nothing


def test_threads_and_files_are_left_behind(tmp_path: Path) -> None:
    """By name and path."""
    go = threading.Event()
    with left_behind() as left:
        thread = threading.Thread(target=go.wait, name="forgotten")
        thread.start()
        file = (tmp_path / "open.txt").open("w")
    file.close()
    go.set()
    thread.join()

    assert left.threads == ["forgotten"] and left.files == [str(tmp_path / "open.txt")] and left


def test_the_threads_of_a_pool_are_not_left_behind(loop: str) -> None:
    """They belong to the loop, and live as long as it does."""
    async def main() -> Any:
        with left_behind() as left:
            await anyio.to_thread.run_sync(int)
            if loop == "asyncio":
                await asyncio.to_thread(int)
        return left

    assert not run_virtual(main, loop)


def test_an_asyncio_task_outside_anyio_is_left_behind() -> None:
    """Made with ``create_task``."""
    async def main() -> list[str]:
        with left_behind() as left:
            task = asyncio.create_task(asyncio.sleep(9), name="forgotten")
        task.cancel()
        return left.tasks

    assert run_virtual(main) == ["forgotten"]

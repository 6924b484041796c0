"""What a run has left behind: threads, processes, open files, tasks of asyncio or trio."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from kayrx.runtime.backend import loop_running


@dataclass(slots=True)
class Left:
    """What is alive now and was not before; empty is what law 8 asks for.

    The idle threads that anyio, trio and asyncio keep for their loop are not counted.
    """

    threads: list[str] = field(default_factory=list)
    processes: list[int] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    tasks: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.threads or self.processes or self.files or self.tasks)


POOLS = ("AnyIO worker thread", "Trio thread", "asyncio_")


def _files() -> dict[str, str]:
    """The open files, by number; none where there is no /proc to ask."""
    found = {}
    for number in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except OSError:  # the listing's own descriptor
            continue
    return found


def _children() -> set[int]:
    """The processes that this one has started; none where there is no /proc to ask."""
    found: set[int] = set()
    for task in os.listdir("/proc/self/task") if os.path.isdir("/proc/self/task") else ():
        try:
            with open(f"/proc/self/task/{task}/children") as file:
                found.update(map(int, file.read().split()))
        except OSError:  # a thread that has just ended
            continue
    return found


def _tasks() -> dict[Any, str]:
    """The tasks of the running loop that have not ended, with their names."""
    running = loop_running()
    if running == "asyncio":
        return {task: task.get_name() for task in asyncio.all_tasks()}
    found: dict[Any, str] = {}
    todo = [sys.modules["trio"].lowlevel.current_root_task()] if running else []
    while todo:
        task = todo.pop()
        found[task] = task.name
        todo += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return found


@contextmanager
def left_behind() -> Iterator[Left]:
    """Fill a `Left` when the block ends; inside a loop it also looks at the loop's tasks.

    >>> with left_behind() as left:
    ...     pass
    >>> bool(left)
    False
    """
    threads, files, tasks, processes = set(threading.enumerate()), _files(), _tasks(), _children()
    left = Left()
    yield left
    left.threads = [t.name for t in threading.enumerate() if t not in threads and not t.name.startswith(POOLS)]
    left.processes = sorted(_children() - processes)
    left.files = [path for number, path in _files().items() if files.get(number) != path]
    left.tasks = [name for task, name in _tasks().items() if task not in tasks]

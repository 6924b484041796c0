"""What a run has left behind: threads, processes, open files, asyncio tasks."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Left:
    """What is alive now and was not before; empty is what law 8 asks for."""

    threads: list[str] = field(default_factory=list)
    processes: list[int] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    tasks: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.threads or self.processes or self.files or self.tasks)


def _files() -> dict[str, str]:
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except OSError:  # the listing's own descriptor
            continue
    return found


def _children() -> set[int]:
    found: set[int] = set()
    for task in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/children") as file:
                found.update(map(int, file.read().split()))
        except OSError:  # a thread that has just ended
            continue
    return found


def _tasks() -> set[asyncio.Task[object]]:
    try:
        return set(asyncio.all_tasks())
    except RuntimeError:
        return set()


@contextmanager
def left_behind() -> Iterator[Left]:
    """Fill a `Left` when the block ends.

    >>> with left_behind() as left:
    ...     pass
    >>> bool(left)
    False
    """
    threads, files, tasks, processes = set(threading.enumerate()), _files(), _tasks(), _children()
    left = Left()
    yield left
    left.threads = [t.name for t in threading.enumerate() if t not in threads and t.is_alive()]
    left.processes = sorted(_children() - processes)
    left.files = [path for number, path in _files().items() if files.get(number) != path]
    left.tasks = [t.get_name() for t in _tasks() - tasks if not t.done()]

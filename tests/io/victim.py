"""A process to be killed: imports once, then forks a child for each word on its input, which runs a graph to its end.

python victim.py DIRECTORY; a word is ``stream``, ``replay`` or ``state``.  Says the child's pid, then how it ended.
"""

from __future__ import annotations

import operator
import os
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio

import kayrx as kx

ITEMS, POISON = 10_000, 20


def appended(path: Path) -> Callable[[Any], None]:
    """Writes a line by one call of the system, so that it is there whole or not at all."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    return lambda x: os.write(file, f"{x}\n".encode()) and None


def poisoned(x: int) -> int:
    if x % POISON == 7:
        raise ValueError(x)
    return x


def half_healed(x: int) -> int:
    return x if x % (2 * POISON) == 7 else poisoned(x)


def stream(home: Path, work: Callable[[int], int], items: int = ITEMS) -> Any:
    """Ten thousand items, one in twenty of them poison, into a file."""
    return (kx.source(range(items)) >> kx.map(work).named("work") >> kx.dead_letter(kx.sqlite_letters(home / "letters"))
            >> kx.checkpoint(kx.sqlite_checkpoints(home / "state"), every=100)
            >> kx.each(appended(home / "output"))).named("stream")


async def asked(x: int) -> int:
    await anyio.sleep(0)
    return x


def state(home: Path, items: int = 4000) -> Any:
    """Nodes that hold something, in several tasks; each line shows what they held."""
    store = kx.sqlite_checkpoints(home / "state")
    return (kx.source(range(items)) >> kx.scan(operator.add, 0) >> kx.map(asked, concurrency=4)
            >> kx.broadcast(kx.stateful_map(lambda n, x: (n + 1, (n, x)), kx.it % 3, 0) >> kx.map(str),
                            kx.distinct(kx.it % 997) >> kx.window_by(event_time=kx.it, tumbling=500) >> kx.map(
                                lambda w: f"{w.start} {w.value}"),
                            kx.buffer(count=7) >> kx.map(asked) >> kx.map(str)) >> kx.merge()
            >> kx.checkpoint(store, every=150) >> kx.each(appended(home / "output"))).named("state")


def work(word: str, home: Path, **items: int) -> None:
    match word:
        case "stream":
            stream(home, poisoned, **items).run(resume=True)
        case "replay":
            stream(home, half_healed, **items).replay(kx.sqlite_letters(home / "letters"))
        case "state":
            state(home, **items).run(resume=True)


def main() -> None:
    home = Path(sys.argv[1])
    with TemporaryDirectory() as warm:  # so that a child has imported what it needs
        for word in ("stream", "replay", "state"):
            work(word, Path(warm), items=50)
    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            try:
                work(line.strip(), home)
            except BaseException:
                import traceback
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()

"""A child process for test_durable: a graph whose items all fail, into the store it is told, or are all saved.

    python writer.py KIND PATH PREFIX COUNT [SIZE]

Item n is asked for when the letter of n - 1 has been acknowledged, or its checkpoint (KIND ``checkpoint``); that is
said on standard output, in one write, as ``ack PREFIX-n``.  With SIZE no file may grow over it, as on a full disk.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator

import kayrx as kx


def items(prefix: str, count: int) -> Iterator[str]:
    for number in range(count):
        item = f"{prefix}-{number}"
        yield item
        os.write(1, f"ack {item}\n".encode())


def fail(item: str) -> str:
    raise ValueError(item * 20)


def main(kind: str, path: str, prefix: str, count: str, size: str = "") -> None:
    if size:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), int(size)))
    try:
        if kind == "checkpoint":
            source = kx.source(lambda _: items(prefix, int(count)), cursor=kx.it)
            saved = kx.checkpoint(kx.sqlite_checkpoints(path), every=1)
            (source >> kx.map(kx.it * 20) >> kx.scan(lambda _, x: x, "") >> saved).run()
        else:
            store = {"sqlite": kx.sqlite_letters, "json": kx.json_letters}[kind](path)
            (kx.source(lambda: items(prefix, int(count))) >> kx.map(fail) >> kx.dead_letter(store)).run()
    except Exception as error:
        os.write(1, f"failed {type(error).__name__}: {error}\n".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])

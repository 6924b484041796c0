"""A child process for test_durable: a graph whose items all fail, into the store it is told.

    python writer.py KIND PATH PREFIX COUNT [SIZE]

Item n is asked for when the letter of n - 1 has been acknowledged; that is said on standard output, in one
write, as ``ack PREFIX-n``.  With SIZE no file may grow over it, as on a full disk.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator

import kayrx as kx

kind, path, prefix, count = sys.argv[1:5]
if len(sys.argv) > 5:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[5]), int(sys.argv[5])))
store = {"sqlite": kx.sqlite_letters, "json": kx.json_letters}[kind](path)


def items() -> Iterator[str]:
    for number in range(int(count)):
        item = f"{prefix}-{number}"
        yield item
        os.write(1, f"ack {item}\n".encode())


def fail(item: str) -> str:
    raise ValueError(item * 20)


try:
    (kx.source(items) >> kx.map(fail) >> kx.dead_letter(store)).run()
except Exception as error:
    os.write(1, f"failed {type(error).__name__}: {error}\n".encode())

"""W13: how long a store with many letters takes to be opened again: a second for a hundred thousand at most."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache, partial
from pathlib import Path
from typing import Any

import kayrx as kx
from tests.bench.goals import Goal
from tests.bench.measure import Contender, Race

MAKES: dict[str, Any] = {"JSON lines": kx.json_letters, "SQLite": kx.sqlite_letters}


def letter(number: int) -> kx.Letter:
    item = {"number": number, "text": "a prompt of some words " * 4}
    return kx.Letter(f"answers/ask/prompts/0/{number}", item, "ask", ValueError(f"no answer to {number}"),
                     "Traceback ...\n" * 20, 3, 0.0, graph="answers")


@cache
def folder() -> Path:
    made = tempfile.mkdtemp(prefix="kayrx-bench-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return Path(made)


@cache
def filled(kind: str, count: int) -> Any:
    """A store on disk that has ``count`` letters."""
    store = MAKES[kind](folder() / f"{kind} {count}", fsync=False)
    opened = store.factory()
    for number in range(count):
        opened.append(letter(number))
    opened.close()
    return store


def opened_again(count: int, kind: str) -> str:
    """Open it, write a letter that is there already, and read the first."""
    opened = filled(kind, count).factory()
    try:
        opened.append(letter(count - 1))
        return str(next(iter(opened.items())).id)
    finally:
        opened.close()


def races() -> list[Race]:
    contenders = [Contender(kind, partial(opened_again, kind=kind)) for kind in MAKES]
    return [Race("W13", lambda items: letter(0).id, contenders, [
        Goal(kind, "", 10_000, "amount") for kind in MAKES], size=100_000, quick=10_000, base="SQLite")]

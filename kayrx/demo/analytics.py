"""Live analytics of a text or log file: what occurs how often, window by window.

    lines > words > buffer(count) > Counter > totals > report

A window is a number of keys, not a time: the same file always gives the same windows.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from contextlib import suppress
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Never

from anyio import wait_readable

import kayrx as kx

_LEVELS = "trace|debug|info|notice|warning|warn|error|critical|fatal"
# Prose has errors too: a level is written large, in brackets or as level=.
LEVEL = re.compile(rf"\b({_LEVELS.upper()})\b|(?:\[|\blevel=\"?)({_LEVELS})\b")
CHUNK = 65536  # bytes of a pipe at a time
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


class Totals(NamedTuple):
    """What has been counted up to the newest window, and that window alone."""

    windows: int
    items: int
    counts: Counter[str]
    newest: Counter[str]


def words(line: str) -> list[str]:
    """The words of a line, in small letters.

    >>> words("Don't count 2 things, count words!")
    ["don't", 'count', 'things', 'count', 'words']
    """
    return [word.casefold() for word in WORD.findall(line)]


def levels(line: str) -> list[str]:
    """The level of a log line, in large letters; "(none)" for lines without, such as tracebacks.

    >>> levels("12:00:01 WARN disk is full"), levels("  File 'a.py', line 3"), levels("")
    (['WARNING'], ['(none)'], [])
    """
    found = LEVEL.search(line)
    if found is None:
        return ["(none)"] if line.strip() else []
    level = (found[1] or found[2]).upper()
    return ["WARNING" if level == "WARN" else level]


def looks_like_log(lines: Iterable[str], most: int = 50) -> bool:
    """True if most of the first lines that are not empty name a level.

    >>> looks_like_log(["12:00:01 WARN disk is full", ""]), looks_like_log(["An error is made by people."])
    (True, False)
    """
    first = [line for line in islice(lines, most) if line.strip()]
    return sum(LEVEL.search(line) is not None for line in first) * 2 > len(first)


async def opened(path: Path) -> tuple[Path | AsyncIterator[str], bool]:
    """Where the lines of ``path`` come from, and whether they look like a log.

    A pipe or terminal gives its bytes only once, so what is looked at is read on.
    """
    if path.is_file():
        with path.open(encoding="utf-8", errors="replace") as file:
            return path, looks_like_log(file)
    pipe = FileIO(os.open(path, os.O_RDONLY | os.O_NONBLOCK))  # no call waits, so that a silent one can be left at once
    first = await some(pipe)
    return piped(pipe, first), looks_like_log(first.decode("utf-8", "replace").splitlines())


async def some(pipe: FileIO) -> bytes:
    """What there is in a pipe, once there is something; nothing at its end."""
    while True:
        with suppress(PermissionError):  # /dev/null, say, cannot be waited for, and need not
            await wait_readable(pipe)
        if (read := pipe.read(CHUNK)) is not None:
            return read


async def piped(pipe: FileIO, first: bytes) -> AsyncIterator[str]:
    """The lines of a pipe, as soon as they come; ``first`` has been read of it."""
    with pipe:
        rest, more = b"", first
        while more:
            *whole, rest = (rest + more).split(b"\n")
            for line in whole:
                yield line.decode("utf-8").rstrip("\r")
            more = await some(pipe)
        if rest:
            yield rest.decode("utf-8")


def add(before: Totals, window: Counter[str]) -> Totals:
    """The totals with one window more; the ones before stay as they are, for whoever still shows them."""
    counts = before.counts.copy()
    counts.update(window)
    return Totals(before.windows + 1, before.items + window.total(), counts, window)


def counted(window: list[str]) -> Counter[str]:
    return Counter(window)


def analytics_graph(lines: Path | AsyncIterable[str], keys: Callable[[str], list[str]],
                    report: Callable[[Totals], object], *, window: int,
                    every: float | None = None) -> kx.Sink[Never, None]:
    """Count ``keys`` of each line of a file or pipe in windows of ``window`` keys; ``report`` gets the totals of each.

    With ``every`` the report comes at most every so many seconds, and once at the end.
    """
    totals = (
        (kx.lines(lines) if isinstance(lines, Path) else kx.source(lines))
        >> kx.flat_map(keys)
        >> kx.buffer(count=window)
        >> kx.map(counted).named("count")
        >> kx.scan(add, Totals(0, 0, Counter(), Counter())).named("totals")
    )
    return (totals if every is None else totals >> kx.sample(every)) >> kx.sink(report)


__all__ = ["Totals", "analytics_graph", "levels", "looks_like_log", "opened", "words"]

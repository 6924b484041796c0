"""Live analytics of a text or log file: what occurs how often, window by window.

    lines > words > buffer(count) > Counter > totals > report

A window is a number of keys, not a time: the same file always gives the same windows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Never

import kayrx as kx

_LEVELS = "trace|debug|info|notice|warning|warn|error|critical|fatal"
# Prose has errors too: a level is written large, in brackets or as level=.
LEVEL = re.compile(rf"\b({_LEVELS.upper()})\b|(?:\[|\blevel=\"?)({_LEVELS})\b")
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


def looks_like_log(path: Path, lines: int = 50) -> bool:
    """True if most of the first lines that are not empty name a level."""
    with path.open(encoding="utf-8", errors="replace") as file:
        first = [line for line, _ in zip(file, range(lines), strict=False) if line.strip()]
    return sum(LEVEL.search(line) is not None for line in first) * 2 > len(first)


def add(before: Totals, window: Counter[str]) -> Totals:
    """The totals with one window more; the ones before stay as they are, for whoever still shows them."""
    counts = before.counts.copy()
    counts.update(window)
    return Totals(before.windows + 1, before.items + window.total(), counts, window)


def counted(window: list[str]) -> Counter[str]:
    return Counter(window)


def analytics_graph(path: Path, keys: Callable[[str], list[str]], report: Callable[[Totals], object], *,
                    window: int, every: float | None = None) -> kx.Sink[Never, None]:
    """Count ``keys`` of each line in windows of ``window`` keys; ``report`` gets the totals after each.

    With ``every`` the report comes at most every so many seconds, and once at the end.
    """
    totals = (
        kx.lines(path)
        >> kx.flat_map(keys)
        >> kx.buffer(count=window)
        >> kx.map(counted).named("count")
        >> kx.scan(add, Totals(0, 0, Counter(), Counter())).named("totals")
    )
    return (totals if every is None else totals >> kx.sample(every)) >> kx.sink(report)


__all__ = ["Totals", "analytics_graph", "levels", "looks_like_log", "words"]

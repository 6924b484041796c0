"""Windows by event time in a few lines of plain Python, slow and obvious: what `window_by` is held to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Event = tuple[Any, float, Any]  # key, time, value
Over = tuple[Any, float, float, list[Any]]  # key, start, end, values
Closings = list[int]  # after how many events each window closes; one more than there are: at the end


def spans(events: Iterable[Event], size: int, step: int, lateness: float) -> tuple[list[Over], list[Any], Closings]:
    """The final windows of a fixed length in the order in which they close, the late values, and when they close.

    Whole numbers only.  Every window is tried for every event, and its closing looked for in all that came.
    """
    events = list(events)
    latest = [max([e[1] for e in events[:i]], default=float("-inf")) for i in range(len(events) + 1)]
    held: dict[tuple[Any, float], list[Any]] = {}
    late = []
    for i, (key, time, value) in enumerate(events):
        starts = [n * step for n in range(int(time // step) - size // step - 1, int(time // step) + 2)
                  if n * step <= time < n * step + size and n * step + size + lateness > latest[i]]
        for start in starts:
            held.setdefault((key, start), []).append(value)
        if not starts:
            late.append(value)

    def closed(window: tuple[Any, float]) -> int:
        return next((i for i, now in enumerate(latest) if now >= window[1] + size + lateness), len(latest))

    order = sorted(held, key=lambda w: (closed(w), w[1]))  # ``held`` keeps the order of opening for the rest
    return [(key, start, start + size, held[key, start]) for key, start in order], late, [closed(w) for w in order]


def sessions(events: Iterable[Event], gap: float) -> list[Over]:
    """The sessions of events that all came in time: sorted by time, and cut where ``gap`` passes without any."""
    out: list[Over] = []
    keyed: dict[Any, list[Event]] = {}
    for event in events:
        keyed.setdefault(event[0], []).append(event)
    for key, own in keyed.items():
        own.sort(key=lambda e: e[1])
        cuts = [i for i in range(1, len(own)) if own[i][1] - own[i - 1][1] >= gap]
        for a, b in zip([0, *cuts], [*cuts, len(own)], strict=True):
            out.append((key, own[a][1], own[b - 1][1] + gap, [e[2] for e in own[a:b]]))
    return out

"""What a client takes, by its ``Accept`` header (RFC 9110, section 12.5.1)."""

from __future__ import annotations

import math
from collections.abc import Iterable


def likes(accept: str) -> dict[str, float]:
    """How much each kind is liked, from 0 (not at all) on; a header that says nothing takes all.

    >>> likes("text/html, text/*;q=0.5, image/png;q=none")
    {'text/html': 1.0, 'text/*': 0.5, 'image/png': 0.0}
    """
    found: dict[str, float] = {}
    for part in (accept.strip() or "*/*").lower().split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        told = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        try:
            quality = float(told)
        except ValueError:
            quality = 0.0
        found[kind] = quality if math.isfinite(quality) else 0.0
    return found


def like(liked: dict[str, float], kind: str) -> float:
    """How much this kind is liked: the most exact word counts.

    >>> like({"text/html": 0.0, "*/*": 0.1}, "text/html"), like({"*/*": 0.1}, "text/html")
    (0.0, 0.1)
    """
    return liked.get(kind, liked.get(f"{kind.partition('/')[0]}/*", liked.get("*/*", 0.0)))


def best(accept: str, kinds: Iterable[str]) -> str | None:
    """The kind that is liked best; among equals one that is named, and then the first; None if none is taken.

    >>> best("text/event-stream, text/html;q=0.1", ["text/html", "text/event-stream"])
    'text/event-stream'
    >>> best("text/html, */*", ["text/event-stream", "text/html"])
    'text/html'
    """
    liked = likes(accept)
    found = max(kinds, key=lambda kind: (like(liked, kind), kind in liked))
    return found if like(liked, found) > 0 else None


def named(accept: str, kinds: Iterable[str], other: str) -> bool:
    """True if one of the kinds is asked for by its name, and is liked no less than ``other``.

    >>> named("text/event-stream", ["text/event-stream"], "application/json"), named("*/*", ["a/b"], "application/json")
    (True, False)
    """
    liked = likes(accept)
    return any(liked.get(kind, 0.0) > 0 and liked[kind] >= like(liked, other) for kind in kinds)


__all__ = ["best", "like", "likes", "named"]

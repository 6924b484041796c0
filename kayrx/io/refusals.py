"""What a server's refusal says: whether and when to come back, and why."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress

import anyio

from kayrx.runtime.guards.attempts import dated

LATER = frozenset({408, 425, 429, 500, 502, 503, 504})    # statuses after which another attempt may succeed
LONGEST_WAIT = 300.0    # seconds that a server may ask a client to stay away
PATIENCE, WORDS = 2.0, 300    # seconds and bytes for what a refusal has to say


def retry_after(told: str, wall: Callable[[], float]) -> float:
    """The seconds that a Retry-After header asks for, in seconds or as a date; 0 if it says neither.

    >>> [retry_after(told, lambda: 10.0) for told in ("7", "Thu, 01 Jan 1970 00:00:30 GMT", "soon")]
    [7.0, 20.0, 0.0]
    """
    seconds = float(told) if told.isascii() and told.isdigit() else dated(told, wall)
    return min(LONGEST_WAIT, seconds)


def elsewhere(headers: Mapping[str, str]) -> str:
    """What to do about a redirect, which a client does not follow: passwords would go along.

    >>> elsewhere({"location": "/words"})
    ": it is at '/words'; write that URL, or client= with one that follows redirects"
    """
    place = headers.get("location", "")[:WORDS]
    return f": it is at {place!r}; write that URL, or client= with one that follows redirects" if place else ""


async def said(chunks: AsyncIterator[bytes]) -> str:
    """Why a server refuses, in its own words and in a line: a JSON ``message`` or ``detail``, or else its text."""
    found = b""
    with suppress(Exception), anyio.move_on_after(PATIENCE):    # a refusal stays one, whatever becomes of its words
        async for chunk in chunks:
            found += chunk
            if len(found) > WORDS:
                break
    text = found[:WORDS].decode("utf-8", "replace")
    with suppress(ValueError, RecursionError):
        told = json.loads(text)
        text = next((told[key] for key in ("message", "detail") if isinstance(told.get(key), str)), text) \
            if isinstance(told, dict) else text
    line = "".join(sign if sign.isprintable() else " " for sign in text).strip()
    return f": {line}" if line else ""


__all__ = ["LATER", "LONGEST_WAIT", "elsewhere", "retry_after", "said"]

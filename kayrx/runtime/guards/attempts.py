"""What attempts of one item have in common: the waits between them, their end, and the note of those before."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kayrx.errors import DeadlineExceeded
from kayrx.nodes import guards as data

if TYPE_CHECKING:
    from kayrx.runtime.guards.chain import Guarded

EARLIER = "kayrx: earlier attempts: "
EXACT = 1e-9  # seconds that are lost in adding up
SHOWN = 6  # errors in the note; a run of equal ones counts once


class Attempts:
    """The attempts of one item under one retry guard."""

    def __init__(self, guard: data.Retry, guarded: Guarded, begun: float | None = None) -> None:
        self.guard, self.guarded = guard, guarded
        self.until = None
        if guard.deadline is not None:
            self.until = (guarded.run.backend.now() if begun is None else begun) + guard.deadline
        self.waited = guard.backoff.first
        self.failed: list[list[Any]] = []  # text, first attempt, last attempt

    def wait_after(self, error: Exception, attempt: int) -> float | None:
        """The seconds until the next attempt; None if the error stands, which then tells of the attempts before.

        Raises DeadlineExceeded if the wait would outlast the budget around it.
        """
        guard, guarded = self.guard, self.guarded
        wait = None
        if attempt < guard.attempts and data.matches(guard.on, error):
            run = guarded.run
            wait = max(self.drawn(attempt), asked(error, run.world.wall))
            if self.until is not None and run.backend.now() + wait > self.until + EXACT:
                wait = None
            elif guarded.until is not None and run.backend.now() + wait >= guarded.until - EXACT:
                if isinstance(error, DeadlineExceeded):
                    wait = None
                else:
                    raise guarded.exceeded() from error
        if wait is None:
            self.note(error)
            return None
        self.remember(error, attempt)
        guarded.tell("retried", error, attempt=attempt, wait=wait)
        return wait

    def drawn(self, attempt: int) -> float:
        guard, draw = self.guard, self.guarded.run.world.random.random
        wait = guard.backoff.wait(attempt)
        if guard.jitter == "full":
            return wait * draw()
        if guard.jitter == "equal":
            return wait * (1 + draw()) / 2
        if guard.jitter == "decorrelated":
            low = guard.backoff.first
            self.waited = min(guard.backoff.cap, low + (3 * self.waited - low) * draw())
            return self.waited
        return wait

    def remember(self, error: Exception, attempt: int) -> None:
        try:
            text = f"{type(error).__name__}: {error}"[:200]
        except Exception:  # an error of the user's may not be printable
            text = type(error).__name__
        if self.failed and (self.failed[-1][0] == text or len(self.failed) == SHOWN):
            if self.failed[-1][0] != text:
                self.failed[-1][0] = "and others"
            self.failed[-1][2] = attempt
        else:
            self.failed.append([text, attempt, attempt])

    def note(self, error: Exception) -> None:
        """One note of all attempts before, however often this object is raised."""
        if not self.failed:
            return
        text = "; ".join(f"{first}{'' if first == last else f'-{last}'}: {what}" for what, first, last in self.failed)
        try:
            error.__notes__ = [n for n in getattr(error, "__notes__", ()) if not str(n).startswith(EARLIER)]
            error.add_note(EARLIER + text)
        except Exception:  # an exception may forbid notes; its own meaning matters more
            return


def asked(error: Exception, wall: Callable[[], float]) -> float:
    """The seconds for which a server asks to be left alone; 0 if it does not.

    That is ``error.retry_after``, or Retry-After of ``error.response.headers``, in seconds or as a date (RFC 9110).
    """
    value: Any = getattr(error, "retry_after", None)
    if value is None:
        headers = getattr(getattr(error, "response", None), "headers", None)
        try:
            value = headers.get("retry-after", headers.get("Retry-After")) if headers is not None else None
        except Exception:  # whatever else is called headers
            return 0.0
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, str):
        try:
            seconds = float(value)
        except ValueError:
            return dated(value, wall)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(value)
    else:
        return 0.0
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0


def dated(text: str, wall: Callable[[], float]) -> float:
    from email.utils import parsedate_to_datetime  # late: few runs ever need it

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - wall())
    except (ValueError, TypeError, OverflowError):
        return 0.0

"""How long to wait before the next attempt: values for `retry(backoff=)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kayrx.errors import GraphError
from kayrx.nodes.values import span

Jitter = Literal["none", "full", "equal", "decorrelated"]
JITTERS = ("none", "full", "equal", "decorrelated")


@dataclass(frozen=True, slots=True)
class Backoff:
    """The wait before attempt n + 1: ``first * factor ** (n - 1)`` seconds, at most ``cap``."""

    first: float
    factor: float = 1.0
    cap: float = float("inf")

    def __post_init__(self) -> None:
        span("backoff", "first", self.first)
        span("backoff", "cap", self.cap)
        if not isinstance(self.factor, (int, float)) or not self.factor >= 1:
            raise GraphError(f"backoff(factor): factor must be a number >= 1, got {self.factor!r}")

    def wait(self, attempt: int) -> float:
        try:
            return min(self.cap, self.first * self.factor ** (attempt - 1))
        except OverflowError:  # after a thousand attempts or so
            return self.cap


@dataclass(frozen=True, slots=True)
class Fibonacci(Backoff):
    """The wait before attempt n + 1: ``first`` times the n-th Fibonacci number, at most ``cap``."""

    def wait(self, attempt: int) -> float:
        wait, following = 0 * self.first, self.first
        for _ in range(attempt):
            wait, following = following, wait + following
            if wait >= self.cap or not wait:
                break
        return min(self.cap, wait)


AT_ONCE = Backoff(0.0)


def constant(seconds: float) -> Backoff:
    """The same wait before every attempt.

    In: seconds.  Out: a value for ``retry(backoff=)``.  Order: no wait differs.  Memory: none.
    Raises:  GraphError, here, unless ``seconds`` >= 0.
    Source:  Reactor Retry.fixedDelay.

    >>> constant(0.5).wait(7)
    0.5
    """
    return Backoff(seconds)


def exponential(first: float, *, factor: float = 2.0, cap: float = 60.0) -> Backoff:
    """Waits of ``first``, ``first * factor`` ... seconds, at most ``cap``.

    In: seconds.  Out: a value for ``retry(backoff=)``.  Order: no wait is shorter than the one before.  Memory: none.
    Raises:  GraphError, here, unless ``first`` and ``cap`` are >= 0 and ``factor`` >= 1.
    Source:  Reactor Retry.backoff.

    >>> [exponential(0.2, cap=1).wait(n) for n in (1, 2, 3, 4)]
    [0.2, 0.4, 0.8, 1]
    """
    return Backoff(first, factor, cap)


def fibonacci(first: float, *, cap: float = 60.0) -> Backoff:
    """Waits of ``first`` times 1, 1, 2, 3, 5 ... seconds, at most ``cap``: slower to grow than `exponential`.

    In: seconds.  Out: a value for ``retry(backoff=)``.  Order: no wait is shorter than the one before.  Memory: none.
    Raises:  GraphError, here, unless ``first`` and ``cap`` are >= 0.
    Source:  backoff.fibo of the Python package backoff.

    >>> [fibonacci(1, cap=6).wait(n) for n in (1, 2, 3, 4, 5, 6)]
    [1, 1, 2, 3, 5, 6]
    """
    return Fibonacci(first, 1.0, cap)


__all__ = ["Backoff", "Fibonacci", "Jitter", "constant", "exponential", "fibonacci"]

"""Connections that come back: what clients of every protocol have in common.

A source here is a value that opens its connection when it is run.  What breaks is opened again after a wait that grows
(``backoff``, drawn by ``jitter``), from where the stream was; ``attempts`` failures in a row, with no event between
them, are the end.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import anyio

from kayrx.errors import GraphError, RunError
from kayrx.nodes.backoffs import Backoff, exponential
from kayrx.nodes.values import whole
from kayrx.runtime.world import THE_WORLD, World

T = TypeVar("T")
RETURN = ("shutdown", "expired", "too slow")    # reasons of an end after which the stream goes on elsewhere or later
CURSOR = re.compile(r"(?=\d*[A-Za-z])([A-Za-z0-9]{8})-(\d{1,15})")    # an id as kayrx gives them: run, then number


class ConnectionLost(RunError):
    """A client has lost its connection, or never had one, and may not or could not get it again."""


class RemoteError(RunError):
    """The stream has failed at the server; ``type`` and ``data`` are what the server tells of it."""

    def __init__(self, type: str, message: str, data: Any = None) -> None:
        super().__init__(f"{type}: {message}")
        self.type, self.data = type, data


class Gap(RunError):
    """``gaps="error"``: the server could not go on where the stream was; what came between is lost."""


class Broken(Exception):
    """One connection is over before its stream is; ``after``: the seconds that the server asks to stay away."""

    def __init__(self, message: str, after: float = 0.0) -> None:
        super().__init__(message)
        self.after = after


Gaps = Literal["event", "error"]


@dataclass(frozen=True, slots=True)
class Again:
    """How often and when a broken connection is opened again."""

    attempts: int = 8
    backoff: Backoff = field(default_factory=lambda: exponential(0.5, cap=30))
    jitter: Literal["none", "full", "equal"] = "equal"
    world: World = field(default=THE_WORLD, compare=False, repr=False)

    def __post_init__(self) -> None:
        whole("client", "attempts", self.attempts, 1)
        if not isinstance(self.backoff, Backoff):
            raise GraphError("client(backoff=): give kx.constant(s) or kx.exponential(s)")
        if self.jitter not in ("none", "full", "equal"):
            raise GraphError(f"client(jitter={self.jitter!r}): none, full or equal")

    def wait(self, failures: int, least: float) -> float:
        """Seconds to wait after so many failures in a row."""
        drawn = 1.0 if self.jitter == "none" else self.world.random.random()
        share = (1 + drawn) / 2 if self.jitter == "equal" else drawn
        return least + self.backoff.wait(failures) * share


async def lasting(opened: Callable[[], AsyncGenerator[T, None]], again: Again, what: str) -> AsyncGenerator[T, None]:
    """The items of ``opened()``, which is called anew whenever it raises `Broken`."""
    failures = 0
    while True:
        items = opened()
        try:
            async for item in items:
                failures = 0
                yield item
            return
        except Broken as error:
            failures += 1
            if failures >= again.attempts:
                times = "" if failures == 1 else f" {failures} times in a row"
                raise ConnectionLost(f"{what}: {error}{times}") from error.__cause__
            wait = again.wait(failures, error.after)
        finally:
            with anyio.CancelScope(shield=True):
                await items.aclose()
        await (again.world.sleep or anyio.sleep)(wait)


class Place:
    """Where a numbered stream is: tells what has been seen before, and what is missing."""

    def __init__(self) -> None:
        self.run, self.seq = "", 0

    def new(self, run: str, seq: int) -> bool:
        """False for what has come already."""
        return run != self.run or seq > self.seq

    def missing(self, run: str, seq: int, count: int = 1) -> bool:
        """True if there were others between the last one and this one."""
        return run == self.run and self.seq > 0 and seq - count > self.seq

    def at(self, run: str, seq: int) -> None:
        self.run, self.seq = run, seq


def numbered(id: str) -> tuple[str, int] | None:
    """Run and number of an id that kayrx gave; None for any other, of which nothing is known.

    >>> numbered("k3JxAb9Q-17"), numbered("1719-0")
    (('k3JxAb9Q', 17), None)
    """
    found = CURSOR.fullmatch(id)
    return (found[1], int(found[2])) if found else None


def ended(data: Any) -> bool | None:
    """True if an ``end`` event with these data is the end; Broken if the stream goes on; None if it is not kayrx's."""
    reason = data.get("reason") if isinstance(data, dict) else None
    if not isinstance(reason, str):
        return None
    if reason in RETURN:
        raise Broken(f"the server has ended the connection ({reason})")
    return True


def failed(data: Any) -> RemoteError | None:
    """What an ``error`` event with these data says; None if it is not kayrx's."""
    if isinstance(data, dict) and isinstance(data.get("type"), str) and isinstance(data.get("message"), str):
        return RemoteError(data["type"], data["message"], data)
    return None


__all__ = ["Again", "Broken", "ConnectionLost", "Gap", "RemoteError", "ended", "failed", "lasting", "numbered"]

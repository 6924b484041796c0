"""The world comes in by this door: time, sleep, randomness and ids, all replaceable.

No other module of kayrx reads a clock, draws a number or makes an id, so a run can be held on
virtual time and replayed from a seed.
"""

from __future__ import annotations

import itertools
import os
import random
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

monotonic = time.monotonic
_runs = itertools.count(1)


def run_id() -> str:
    """An id that no other run has had: this process, its start, and a count."""
    return f"{os.getpid():x}-{_started:x}-{next(_runs)}"


_started = time.time_ns()


@dataclass(frozen=True, slots=True)
class World:
    """What a run may know of the outside.

    ``now``     seconds, only differences count; None: the event loop's clock, else the monotonic one
    ``wall``    seconds since 1970, for letters
    ``block``   sleeps in a synchronous run
    ``sleep``   sleeps in a run on a loop; None: the loop's own sleep
    ``random``  draws jitter
    ``run_id``  names the run; never repeats in a store
    ``secret``  names what only those may see who know its name; cannot be guessed
    """

    now: Callable[[], float] | None = None
    wall: Callable[[], float] = time.time
    block: Callable[[float], None] = time.sleep
    sleep: Callable[[float], Awaitable[None]] | None = None
    random: random.Random = field(default_factory=random.Random)
    run_id: Callable[[], str] = run_id
    secret: Callable[[], str] = secrets.token_urlsafe

    @property
    def clock(self) -> Callable[[], float]:
        return self.now or monotonic


THE_WORLD = World()
"""The real one: what a run gets that was given no other."""

"""The send timeout of a client: a send that goes out at once pays no timer, and most do."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from kayrx.runtime.backend import Backend
from kayrx.runtime.guards.deadlines import Deadlines
from kayrx.runtime.guards.interrupt import Interrupt, Interrupted


class TooSlow(Exception):
    """The client took nothing for too long."""


class Sending:
    """The sends of one client, one after the other; once one was too slow, no other may follow."""

    __slots__ = ("backend", "deadlines", "interrupt", "seconds")

    def __init__(self, backend: Backend, seconds: float) -> None:
        self.backend, self.seconds = backend, seconds
        self.interrupt, self.deadlines = Interrupt(), Deadlines()

    async def sent(self, sending: Awaitable[Any]) -> None:
        """Wait for ``sending``.  Raises: TooSlow once it has been suspended for so many seconds."""
        try:
            await self.interrupt.over(sending, self.backend, self.seconds, self.deadlines)
        except Interrupted:
            raise TooSlow(f"the client took nothing for {self.seconds:g} seconds") from None


__all__ = ["Sending", "TooSlow"]

"""Whose turn it is: the clients of a session that wait, woken by events and by the silence between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from kayrx.serve.client import Subscription
    from kayrx.serve.session import Session

FEW = 8         # clients that are woken where the event comes; of more
SLICE = 64      # in one pass of the loop
SHORT = 0.001   # seconds of a round after which no rest is needed
REST = 0.02     # the longest rest


class Turns:
    """The clients that wait, in the order in which they began to."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.waiting: dict[Subscription, None] = {}
        self._round = False          # they are being woken, one slice after the other
        self._pace = float("inf")    # the shortest heartbeat
        self._beating: anyio.CancelScope | None = None

    def wake(self) -> None:
        """Something has come: wake the clients that wait; a few at once, many in rounds."""
        if self._round:
            return
        if len(self.waiting) > FEW:
            self._round = True
            self.session.hub.host.start_soon(self._rounds)
            return
        waiting = list(self.waiting)
        self.waiting.clear()
        for client in waiting:
            client.wake()

    async def _rounds(self) -> None:
        """Wake many clients a slice in each pass of the loop, so that no pass is long.

        A round that took long is followed by a rest of half its time: at most two thirds of the loop are the
        clients', and what comes meanwhile is sent in one go.
        """
        now, seen = self.session.backend.now, 0
        try:
            while self.session.log.last > seen:
                began, seen = now(), self.session.log.last
                clients = [client for client in self.waiting if client.reader.waiting]
                for start in range(0, len(clients), SLICE):
                    for client in clients[start:start + SLICE]:
                        self.waiting.pop(client, None)
                        client.wake()
                    await self.session.backend.checkpoint()
                if (spent := now() - began) > SHORT:
                    await anyio.sleep(min(spent / 2, REST))
        finally:
            self._round = False
            if self.session.log.last > seen or self.session.hub.closing:    # ended in mid-round: nobody is left waiting
                for client in list(self.waiting):
                    client.wake()

    def watch(self, client: Subscription) -> None:
        """A client has come, who may want heartbeats."""
        if client.heartbeat is not None and client.heartbeat < self._pace and not self.session.ended.is_set():
            if self._beating is not None:
                self._beating.cancel()
            self._pace, self._beating = client.heartbeat, anyio.CancelScope()
            self.session.hub.host.start_soon(self._beats, self._beating)

    async def _beats(self, scope: anyio.CancelScope) -> None:
        """One timer for the heartbeats of all clients, for as long as there are any."""
        now = self.session.backend.now
        with scope:
            while self.session.clients:
                due = min([client.due for client in self.waiting], default=float("inf"))
                await anyio.sleep(max(0.0, min(due - now(), self._pace)))
                for client in [client for client in self.waiting if client.due <= now()]:
                    client.beat()
                await anyio.lowlevel.checkpoint()    # they ask again, and are due later
            self._pace = float("inf")

    def close(self) -> None:
        """The run has ended: there is no silence any more."""
        if self._beating is not None:
            self._beating.cancel()


__all__ = ["Turns"]

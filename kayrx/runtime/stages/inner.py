"""An inner: the one open result of a stage, read in a task of its own while the stage reads its lane.

It is opened, read and closed in that task, so scopes and groups that it holds open between two items
stay in order.  It goes on only when the item it gave has been sent on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
from anyio.abc import TaskGroup

from kayrx.nodes.values import EMPTY
from kayrx.plan.plan import Step
from kayrx.runtime.context import Context
from kayrx.runtime.gates.gate import Gate


class Inner:
    """``given`` is the item that waits to be sent on; ``alive`` until the result is closed."""

    def __init__(self, run: Context, step: Step, group: TaskGroup) -> None:
        self.run, self.step, self.group = run, step, group
        self.given: Any = EMPTY
        self.alive = False
        self.error: BaseException | None = None
        self.scope: anyio.CancelScope | None = None
        self._ran = True         # it has run since it was last told to
        self._turn: Any = None   # it waits until its item has been sent on
        self._stage: Any = None  # the stage waits for it

    # -- what the stage does ---------------------------------------------------------------------

    def begin(self, item: Any, many: AsyncIterator[Any]) -> None:
        """Read ``many``, the result for ``item``."""
        self.alive, self._ran = True, False
        self.run.tasks += 1
        self.group.start_soon(self._read, item, many)

    def go_on(self) -> None:
        """What was given has been sent on."""
        self.given, self._ran = EMPTY, False
        self.run.wake(self._turn)

    async def settled(self) -> None:
        """Let the inner run until it waits for something of its own, has given an item, or has ended."""
        while self.alive and not self._ran:
            await self.run.rest()
        if self.error is not None:
            raise self.error

    async def leave(self) -> None:
        """Cancel the inner and wait until it is closed."""
        if self.alive and self.scope is not None:
            self.scope.cancel()
            while self.alive:
                await self._parked()
        if self.error is not None:
            raise self.error

    async def or_lane(self, lane: Gate) -> None:
        """Wait until the inner has something to say, or the lane has."""
        self._stage = lane.reader = self.run.backend.park()
        try:
            await self._parked()
        finally:
            lane.reader = None

    async def _parked(self) -> None:
        park = self._stage = self._stage or self.run.backend.park()
        try:
            await self.run.parked(park)
        finally:
            self._stage = None

    # -- what the inner does ---------------------------------------------------------------------

    async def _read(self, item: Any, many: AsyncIterator[Any]) -> None:
        run, child, ended = self.run, -1, False
        try:
            with anyio.CancelScope() as self.scope:
                self._ran = True
                try:
                    async for value in many:
                        child += 1
                        self._turn = run.backend.park()
                        self.given = (run.child(item[0], child), value) if run.ledger.exact else value
                        self._tell()
                        await run.parked(self._turn)
                        self._ran = True
                    ended = True
                finally:
                    await run.closed(many)
        except BaseException as error:
            if run.ours(error):
                raise
            self.error = error
        finally:
            run.ledger.lost(item, "split" if ended else "cancelled", self.step.label)
            self.alive = False
            run.tasks -= 1
            self._tell()

    def _tell(self) -> None:
        if self._stage is not None:
            self.run.wake(self._stage)

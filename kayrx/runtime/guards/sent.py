"""Output already sent: what a second attempt of a unit of many outputs owes to the one before (``resume=``)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from kayrx.errors import RunError
from kayrx.nodes.retract import Retract
from kayrx.plan.plan import Step
from kayrx.plan.units import DROPPED


def past_marks(step: Step, fn: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
    """``fn`` of the items that come to ``step``; a `Retract` is none."""
    if not step.marked:
        return fn

    async def call(item: Any) -> Any:
        return item if type(item) is Retract else await fn(item)
    return call


class Differs(RunError):
    """A second attempt does not give what the first has sent; no third one would mend that."""


class Sent:
    """What has been sent for one item, across attempts.

    ``count`` outputs stand below; ``skip`` of them are expected again at the head of this attempt, which has given
    ``place`` so far.  ``held`` are the outputs themselves, where they are compared or handed on.
    """

    def __init__(self, resume: str, verify: bool, label: str) -> None:
        self.resume, self.label = resume, label
        self.count = self.skip = self.place = 0
        self.verify = verify
        self.held: list[Any] | None = [] if verify or resume == "continue" else None

    def passes(self, item: Any) -> Any:
        """``item`` as it goes on, or DROPPED; raises Differs where it is not what was sent."""
        if type(item) is Retract:  # of a guard inside
            back = min(item.count, max(0, self.place - self.skip))
            self.place -= item.count
            self.count -= back
            if self.held and back:
                del self.held[-back:]
            return replace(item, count=back) if back else DROPPED
        self.place += 1
        if self.place <= self.skip:
            if self.verify and self.held is not None and self.held[self.place - 1] != item:
                raise Differs(f"{self.label!r} gave another output {self.place} in a new attempt than it had sent "
                              "before; resume=\"restart\" takes back what was sent")
            return DROPPED
        self.count += 1
        if self.held is not None:
            self.held.append(item)
        return item

    def again(self, attempt: int) -> Retract | None:
        """Attempt ``attempt`` has failed and there is another: what has to be sent before that."""
        self.place = 0
        if self.resume == "skip_prefix":
            self.skip = self.count
        if self.resume != "restart" or not self.count:
            return None
        taken, self.count = self.count, 0
        return Retract(taken, self.label, attempt)

    def ended(self) -> None:
        """The attempt has ended well; raises Differs if it gave less than was sent."""
        if self.place < self.skip:
            raise Differs(f"{self.label!r} gave {self.place} outputs in a new attempt, and {self.skip} had been sent; "
                          "resume=\"restart\" takes them back")

    def prefix(self, given: tuple[Any, ...]) -> tuple[Any, ...]:
        """The further arguments of the next attempt: the list of what was sent, where it is asked for."""
        if self.resume != "continue" or self.held is None:
            return given
        return ([*(given[0] if given else ()), *self.held],)

"""The form of `settled`, and the way of a `Retract` past what works on items."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from kayrx.errors import RunError
from kayrx.nodes import retract
from kayrx.nodes.retract import Retract
from kayrx.plan.emit import Emitter
from kayrx.plan.forms.base import end, given, item, kept
from kayrx.plan.written import out_of_reach


def take_back(held: deque[Any], mark: Retract, where: str, fate: Callable[..., None] | None, label: str) -> None:
    """Drop from ``held`` what the mark takes back."""
    if mark.count > len(held):
        raise RunError(f"{where}: {mark.count} items are taken back, and only {len(held)} are held; "
                       f"give settled() a size of {mark.count} or more")
    for _ in range(mark.count):
        pair = held.pop()
        if fate is not None:
            fate(pair[0], "filtered", label)


class Passed:
    """Which of the last items have passed a filter, as far back as a mark may reach."""

    __slots__ = ("each", "where")

    def __init__(self, where: str) -> None:
        self.where = where
        self.each: deque[bool] = deque(maxlen=retract.REACH)

    def behind(self, mark: Retract) -> Retract:
        """The mark for who stands behind the filter."""
        if mark.count > len(self.each):
            raise out_of_reach(self.where, mark.count, len(self.each))
        return replace(mark, count=sum(self.each.pop() for _ in range(mark.count)))


@item.register
def _(node: retract.Settled, e: Emitter, x: str) -> str:
    assert e.step is not None
    held = e.state("held", f"{e.param('deque', deque)}()")
    e.indent(f"if type({x}) is {e.param('Retract', Retract)}:")
    e.line(f"{e.param('take_back', take_back)}({held}, {x}, {e.param('where', e.step.where)}, "
           f"{'run.fate' if e.options.events else 'None'}, {e.label})")
    e.skip()
    e.dedent()
    e.line(f"{held}.append({kept(e, x)})")
    e.indent(f"if len({held}) <= {node.size}:")
    e.skip(None)
    e.dedent()
    target, y = given(e)
    e.line(f"{target} = {held}.popleft()")
    return y


@end.register
def _(node: retract.Settled, e: Emitter) -> str:
    held = e.state("held", f"{e.param('deque', deque)}()")
    target, y = given(e)
    e.open_loop(f"for {target} in {held}:")
    return y

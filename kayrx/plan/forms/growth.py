"""The form of a node whose output comes back as its input."""

from __future__ import annotations

from collections import deque
from typing import Any

from kayrx.errors import GateOverflow
from kayrx.nodes import growth
from kayrx.nodes.values import is_async_generator
from kayrx.plan.emit import Emitter
from kayrx.plan.forms.base import item


def too_many(where: str, limit: int) -> Exception:
    return GateOverflow(f"{where}: more than {limit} items wait to be expanded; give a larger limit=, or max_depth=")


async def gathered(many: Any, most: int, run: Any) -> list[Any]:
    """The items of an async generator, ``most`` of them at most; it is closed in this very task."""
    out: list[Any] = []
    try:
        async for value in many:
            out.append(value)
            if len(out) == most:
                break
    finally:
        if many.ag_frame is not None:
            await run.closed(many)
    return out


@item.register
def _(node: growth.Expand, e: Emitter, x: str) -> str:
    assert e.step is not None
    waiting, before, y = e.value("waiting"), e.value("before"), e.value()
    left, depth, deep = e.value("left"), e.value("depth"), node.max_depth is not None
    e.split()
    e.line(f"{waiting}, {before} = {e.param('deque', deque)}(({x},)), EMPTY")
    if deep:
        e.line(f"{left}, {depth} = 0, -1")
    e.open_loop("while True:")
    e.indent(f"if {before} is not EMPTY{f' and {depth} < {node.max_depth}' if deep else ''}:")
    text, room = e.call(node.fn, before), f"{node.limit + 1} - len({waiting})"
    if is_async_generator(node.fn):
        e.line(f"{waiting}.extend(await {e.param('gathered', gathered)}({text}, {room}, run))")
    else:
        e.line(f"{waiting}.extend(islice({text}, {room}))")
    where = e.param("where", e.step.where)
    e.line(f"if len({waiting}) > {node.limit}: raise {e.param('too_many', too_many)}({where}, {node.limit})")
    e.dedent()
    e.line(f"if not {waiting}: break")
    if deep:  # breadth first: when a level has been given, what waits is the next
        e.line(f"if not {left}: {left}, {depth} = len({waiting}), {depth} + 1")
        e.line(f"{left} -= 1")
    e.line(f"{y} = {before} = {waiting}.popleft()")
    e.child()
    return y

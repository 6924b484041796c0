"""Forms of the select family."""

from __future__ import annotations

from kayrx.nodes import select
from kayrx.nodes.values import is_async
from kayrx.plan.emit import Emitter
from kayrx.plan.forms.base import item
from kayrx.plan.units import selecting


@item.register
def _(node: select.Filter, e: Emitter, x: str) -> str:
    if e.step is not None and e.step.guards:
        y, unit = e.value(), selecting(node.fn)
        e.attempt(y, f"{'await ' if is_async(unit) else ''}{e.param('u', unit)}({x})", unit, x)
        return y
    e.indent(f"if not ({e.call(node.fn, x)}):")
    e.skip()
    e.dedent()
    return x


@item.register
def _(node: select.Take, e: Emitter, x: str) -> str | None:
    if not node.count:
        e.stop("True")
        e.skip()
        return None
    taken = e.state("taken", "0")
    e.line(f"{taken} += 1")
    e.stop(f"{taken} >= {node.count}")
    return x


@item.register
def _(node: select.Skip, e: Emitter, x: str) -> str:
    left = e.state("left", str(node.count))
    e.indent(f"if {left}:")
    e.line(f"{left} -= 1")
    e.skip()
    e.dedent()
    return x


@item.register
def _(node: select.TakeWhile, e: Emitter, x: str) -> str:
    over = e.state("over", "False")
    e.stop(over)
    e.indent(f"if not ({e.call(node.fn, x)}):")
    e.line(f"{over} = True")
    if not node.inclusive:
        e.skip()
    e.dedent()
    return x


@item.register
def _(node: select.DistinctUntilChanged, e: Emitter, x: str) -> str:
    before, key = e.state("before", "EMPTY"), e.value("key")
    e.line(f"{key} = {e.call(node.key, x) if node.key else x}")
    same = e.call(node.comparer, before, key, hint="same") if node.comparer else f"{before} == {key}"
    e.indent(f"if {before} is not EMPTY and ({same}):")
    e.skip()
    e.dedent()
    e.line(f"{before} = {key}")
    return x

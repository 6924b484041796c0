"""Forms of the select family."""

from __future__ import annotations

from collections import deque

from kayrx.nodes import select
from kayrx.nodes.retract import Retract
from kayrx.nodes.values import is_async
from kayrx.plan.emit import Emitter
from kayrx.plan.forms.base import item
from kayrx.plan.forms.retract import Passed
from kayrx.plan.units import selecting


@item.register
def _(node: select.Filter, e: Emitter, x: str) -> str:
    assert e.step is not None
    if e.step.marked:
        return around_marks(node, e, x)
    return filtered(node, e, x)


def filtered(node: select.Filter, e: Emitter, x: str) -> str:
    if e.step is not None and e.step.guards:
        y, unit = e.value(), selecting(node.fn, e.where)
        e.attempt(y, f"{'await ' if is_async(unit) else ''}{e.param('u', unit)}({x})", unit, x, drops=True)
        return y
    e.indent(f"if not ({e.call(node.fn, x)}):")
    e.skip()
    e.dedent()
    return x


def around_marks(node: select.Filter, e: Emitter, x: str) -> str:
    """A `Retract` goes on with the number of those items that have passed; that of each is kept for it."""
    assert e.step is not None
    y, where = e.value("y"), e.param("where", e.step.where)
    passed = e.state("passed", f"{e.param('Passed', Passed)}({where})")
    e.indent(f"if type({x}) is {e.param('Retract', Retract)}:")
    e.line(f"{y} = {passed}.behind({x})")
    e.indent(f"if not {y}.count:")
    e.skip()
    e.dedent()
    e.dedent()
    e.indent("else:")
    e.line(f"{passed}.each.append(False)")
    found = filtered(node, e, x)
    e.line(f"{passed}.each[-1] = True")
    e.line(f"{y} = {found}")
    e.dedent()
    return y


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
def _(node: select.SkipWhile, e: Emitter, x: str) -> str:
    passing = e.state("passing", "False")
    e.indent(f"if not {passing}:")
    e.indent(f"if {e.call(node.fn, x)}:")
    e.skip()
    e.dedent()
    e.line(f"{passing} = True")
    e.dedent()
    return x


@item.register
def _(node: select.Distinct, e: Emitter, x: str) -> str:
    seen, key = e.state("seen", "set()"), x
    if node.key is not None:
        key = e.value("key")
        e.line(f"{key} = {e.call(node.key, x)}")
    e.indent(f"if {key} in {seen}:")
    e.skip()
    e.dedent()
    e.line(f"{seen}.add({key})")
    if node.max_keys is not None:  # a queue beside the set: the oldest key of a long-lived dict is slow to find
        order = e.state("order", f"{e.param('deque', deque)}()")
        e.line(f"{order}.append({key})")
        e.line(f"if len({order}) > {node.max_keys}: {seen}.discard({order}.popleft())")
    return x


@item.register
def _(node: select.IgnoreElements, e: Emitter, x: str) -> None:
    e.fate("filtered")


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

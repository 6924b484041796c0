"""Forms: what a node does to one item, and at the end, as lines of a generated function.

`item(node, e, x)` writes the lines for one item held in variable ``x`` and gives the variable that
goes on, or None if nothing goes on at this point.  `end(node, e)` writes what the node still gives
when its input has completed: it opens a loop and gives its variable, or gives None.  A node without
a row here is run by its Rx operator (`kayrx.plan.lower`).
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import singledispatch
from typing import Any

from kayrx.errors import CompileError, RunError
from kayrx.graph.node import Node
from kayrx.nodes import combine, ends, flow, select, transform, windows
from kayrx.nodes.values import EMPTY, is_async, is_async_generator
from kayrx.plan.emit import LITERALS, Emitter
from kayrx.plan.units import selecting, tapping


@singledispatch
def item(node: Node, e: Emitter, x: str) -> str | None:
    raise CompileError(f"{node.where} has no form: add a row to kayrx/plan/forms.py or kayrx/plan/lower.py, "
                       "or write the node as a function that returns a Graph of known nodes")


@singledispatch
def end(node: Node, e: Emitter) -> str | None:
    return None


@singledispatch
def result(node: Node, e: Emitter) -> str:
    """The text of a sink's result."""
    return "None"


def has_form(node: Node) -> bool:
    """True if the node has a generated form."""
    return item.dispatch(type(node)) is not item.dispatch(object)


def last(e: Emitter, held: str, test: str) -> str:
    """Open a loop of one turn over a held value, if ``test`` holds; forms end with it."""
    y = e.value()
    e.open_loop(f"for {y} in ({held},) if {test} else ():")
    return y


def no_items(where: str) -> Exception:
    return RunError(f"{where}: no items and no seed, so there is no result; give a seed")


def gives_at_end(node: Node) -> bool:
    """True if the node may give something when its input has completed."""
    return end.dispatch(type(node)) is not end.dispatch(object)


# -- transform -----------------------------------------------------------------------------------


@item.register
def _(node: transform.Map, e: Emitter, x: str) -> str:
    y = e.value()
    text = e.call(node.fn, x, waits=node.waits)
    if not node.waits:
        e.probe(text)
    e.attempt(y, text, node.fn, x)
    return y


@item.register
def _(node: transform.FlatMap, e: Emitter, x: str) -> str:
    y = e.value()
    assert e.step is not None
    if e.step.guards:
        each = e.state("each", f"run.guard({e.param('guards', e.step)})")
        many = f"{each}.{'each' if e.awaits else 'each_now'}({e.param('f', node.fn)}, {x})"
        open_each(e, y, many, asynchronous=e.awaits)
    elif is_async_generator(node.fn):
        open_each(e, y, e.call(node.fn, x), asynchronous=True)
    else:
        e.open_loop(f"for {y} in {e.call(node.fn, x)}:")
    return y


def open_each(e: Emitter, y: str, many: str, *, asynchronous: bool) -> None:
    """A loop over an iterator that has to be closed when it is left early."""
    if asynchronous:
        e.open_loop(f"async for {y} in closing(run, {many}):")
    else:
        e.open_loop(f"for {y} in {many}:")


@item.register
def _(node: combine.Unit, e: Emitter, x: str) -> str:
    y = e.value()
    each = e.state("each", f"run.guard({e.param('guards', e.step)})")
    many = f"{each}.{'each' if e.awaits else 'each_now'}(run.unit({e.param('guards', e.step)}), {x})"
    open_each(e, y, many, asynchronous=e.awaits)
    return y


def seeded(e: Emitter, seed: Any) -> str:
    if seed is EMPTY:
        return "EMPTY"
    if type(seed) in LITERALS:
        return e.constant("seed", seed)
    return f"{e.param('copy', deepcopy)}({e.param('seed', seed)})"


@item.register
def _(node: transform.Scan, e: Emitter, x: str) -> str:
    state, y = e.state("state", seeded(e, node.seed)), e.value()
    text = e.call(node.fn, state, x)
    if node.seed is EMPTY:
        text = f"{x} if {state} is EMPTY else {text}"
    if e.step is not None and e.step.guards:
        e.attempt(y, text, node.fn, state, x)
        e.line(f"{state} = {y}")
        return y
    e.line(f"{state} = {text}")
    return state


@item.register
def _(node: transform.Reduce, e: Emitter, x: str) -> None:
    state = e.state("state", seeded(e, node.seed))
    text = e.call(node.fn, state, x)
    if node.seed is EMPTY:
        text = f"{x} if {state} is EMPTY else {text}"
    e.line(f"{state} = {text}")


@end.register
def _(node: transform.Reduce, e: Emitter) -> str:
    state = e.state("state", seeded(e, node.seed))
    if node.seed is EMPTY:
        assert e.step is not None
        e.line(f"if {state} is EMPTY: raise {e.param('no_items', no_items)}({e.param('where', e.step.where)})")
    return last(e, state, "True")


@item.register
def _(node: transform.Tap, e: Emitter, x: str) -> str:
    text = e.call(node.fn, x)
    if e.step is None or not e.step.guards:
        e.line(text)
        return x
    y = e.value()
    unit = tapping(node.fn)
    e.attempt(y, f"{'await ' if is_async(unit) else ''}{e.param('u', unit)}({x})", unit, x)
    return y


@item.register
def _(node: transform.Pairwise, e: Emitter, x: str) -> str:
    before, y = e.state("before", "EMPTY"), e.value()
    e.line(f"{y}, {before} = ({before}, {x}), {x}")
    e.indent(f"if {y}[0] is EMPTY:")
    e.skip()
    e.dedent()
    return y


@item.register
def _(node: transform.Rx, e: Emitter, x: str) -> str:
    hosted, y = e.state("hosted", f"run.host({e.param('rx', e.step)})"), e.value()
    e.open_loop(f"for {y} in {hosted}.push({x}):")
    e.stop(f"{hosted}.ended")
    return y


@end.register
def _(node: transform.Rx, e: Emitter) -> str:
    hosted, y = e.state("hosted", f"run.host({e.param('rx', e.step)})"), e.value()
    e.open_loop(f"for {y} in {hosted}.finish():")
    return y


# -- select --------------------------------------------------------------------------------------


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
def _(node: select.Take, e: Emitter, x: str) -> str:
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


# -- windows -------------------------------------------------------------------------------------


@item.register
def _(node: windows.Buffer, e: Emitter, x: str) -> str:
    held, y = e.state("held", "[]"), e.value()
    e.line(f"{held}.append({x})")
    e.indent(f"if len({held}) < {node.count}:")
    e.skip()
    e.dedent()
    e.line(f"{y}, {held} = {held}, []")
    return y


@end.register
def _(node: windows.Buffer, e: Emitter) -> str:
    held = e.state("held", "[]")
    return last(e, held, held)


@item.register
def _(node: windows.Sliding, e: Emitter, x: str) -> str:
    held, fresh, y = e.state("held", "[]"), e.state("fresh", "0"), e.value()
    gap = max(0, node.step - node.count)
    if gap:
        away = e.state("away", "0")
        e.indent(f"if {away}:")
        e.line(f"{away} -= 1")
        e.skip()
        e.dedent()
    e.line(f"{held}.append({x}); {fresh} += 1")
    e.indent(f"if len({held}) < {node.count}:")
    e.skip()
    e.dedent()
    e.line(f"{y}, {held}, {fresh} = {held}, {held}[{node.step}:], 0")
    if gap:
        e.line(f"{away} = {gap}")
    return y


@end.register
def _(node: windows.Sliding, e: Emitter) -> str:
    return last(e, e.state("held", "[]"), e.state("fresh", "0"))


# -- flow and ends -------------------------------------------------------------------------------


@item.register
def _(node: flow.Backpressure, e: Emitter, x: str) -> str:
    return x


@item.register
def _(node: ends.ToList, e: Emitter, x: str) -> None:
    e.line(f"{e.state('out', '[]')}.append({x})")


@result.register
def _(node: ends.ToList, e: Emitter) -> str:
    return e.state("out", "[]")


def into(node: ends.Each | ends.SinkTo) -> Callable[[Any], Any]:
    """The function a sink calls with each item."""
    if isinstance(node, ends.Each):
        return node.fn
    return getattr(node.target, node.method) if node.method else node.target  # type: ignore[no-any-return]


@item.register(ends.Each)
@item.register(ends.SinkTo)
def _(node: ends.Each | ends.SinkTo, e: Emitter, x: str) -> None:
    fn = into(node)
    text = e.call(fn, x)
    if e.step is None or not e.step.guards:
        e.line(text)
    else:
        e.attempt("_", text, fn, x)


@result.register
def _(node: ends.SinkTo, e: Emitter) -> str:
    return e.param("target", node.target) if node.method else "None"

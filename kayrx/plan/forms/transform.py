"""Forms of the transform family, and of guarded units."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from kayrx.errors import RunError
from kayrx.nodes import transform, units
from kayrx.nodes.retract import Retract
from kayrx.nodes.values import EMPTY, is_async, is_async_generator
from kayrx.plan.emit import LITERALS, Emitter
from kayrx.plan.forms.base import end, item, last
from kayrx.plan.plan import Saving
from kayrx.plan.units import tapping


def no_items(where: str) -> Exception:
    return RunError(f"{where}: no items and no seed, so there is no result; give a seed")


@item.register
def _(node: transform.Map, e: Emitter, x: str) -> str:
    y = e.value()
    text = e.call(node.fn, x, waits=node.waits)
    if marked := past_marks(e, x):
        e.line(f"{y} = {x}")
        e.dedent()
        e.indent("else:")
    e.attempt(y, text, node.fn, x)
    if marked:
        e.dedent()
    return y


def past_marks(e: Emitter, x: str) -> bool:
    """Open a block for a `Retract`, which is no item, if one may come by here."""
    if e.step is None or not e.step.marked:
        return False
    e.indent(f"if type({x}) is {e.param('Retract', Retract)}:")
    return True


@item.register
def _(node: transform.FlatMap, e: Emitter, x: str) -> str:
    y = e.value()
    assert e.step is not None
    if e.step.guards:
        each = e.state("each", f"run.guard({e.param('guards', e.step)})")
        fn = e.param("f", node.fn) if is_async(node.fn) else e.probed_param(e.param("f", node.fn), node.fn)
        many = f"{each}.{'each' if e.awaits else 'each_now'}({fn}, {x})"
        e.in_hand()
        open_each(e, y, many, asynchronous=e.awaits)
    elif is_async_generator(node.fn):
        open_each(e, y, e.call(node.fn, x), asynchronous=True)
    else:
        open_each(e, y, e.call(node.fn, x), asynchronous=False)
    return y


def open_each(e: Emitter, y: str, many: str, *, asynchronous: bool) -> None:
    """A loop over an iterator that has to be closed when it is left early."""
    e.split()
    if asynchronous:
        e.open_async_loop(y, many)
    else:
        e.open_loop(f"for {y} in {many}:")
    e.child()


@item.register
def _(node: units.Unit, e: Emitter, x: str) -> str:
    y = e.value()
    each = e.state("each", f"run.guard({e.param('guards', e.step)})")
    many = f"{each}.{'each' if e.awaits else 'each_now'}(run.unit({e.param('guards', e.step)}, {e.awaits}), {x})"
    e.in_hand()
    open_each(e, y, many, asynchronous=e.awaits)
    return y


def seeded(e: Emitter, seed: Any) -> str:
    if seed is EMPTY:
        return "EMPTY"
    if type(seed) in LITERALS:
        return e.constant("seed", seed)
    return f"{e.param('copy', deepcopy)}({e.param('seed', seed)})"


def or_first(e: Emitter, state: str, x: str, text: str) -> str:
    """``text``, or the item itself where it is the first: without a seed there is no state before it.

    A flag is found sooner than EMPTY (4 % of W2), but a checkpoint and a retry know the state alone.
    """
    if isinstance(e.options, Saving) or (e.step is not None and e.step.guards):
        return f"{x} if {state} is EMPTY else {text}"
    fresh = e.state("fresh", "True")
    return f"({x}, {fresh} := False)[0] if {fresh} else {text}"


@item.register
def _(node: transform.Scan, e: Emitter, x: str) -> str:
    state, y = e.state("state", seeded(e, node.seed)), e.value()
    text = e.call(node.fn, state, x)
    if node.seed is EMPTY:
        text = or_first(e, state, x, text)
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
        text = or_first(e, state, x, text)
    e.line(f"{state} = {text}")
    e.absorb()


@end.register
def _(node: transform.Reduce, e: Emitter) -> str:
    state = e.state("state", seeded(e, node.seed))
    if node.seed is EMPTY:
        assert e.step is not None
        e.line(f"if {state} is EMPTY: raise {e.param('no_items', no_items)}({e.param('where', e.step.where)})")
    y = last(e, state, "True")
    e.made()
    return y


@item.register
def _(node: transform.Tap, e: Emitter, x: str) -> str:
    text, y, guarded = e.call(node.fn, x), e.value(), e.step is not None and bool(e.step.guards)
    if marked := past_marks(e, x):
        e.line(f"{y} = {x}" if guarded else "pass")
        e.dedent()
        e.indent("else:")
    if guarded:
        unit = tapping(node.fn, e.where)
        e.attempt(y, f"{'await ' if is_async(unit) else ''}{e.param('u', unit)}({x})", unit, x)
    else:
        e.line(text)
    if marked:
        e.dedent()
    return y if guarded else x


@item.register
def _(node: transform.Pairwise, e: Emitter, x: str) -> str:
    before, y = e.state("before", "EMPTY"), e.value()
    e.line(f"{y}, {before} = ({before}, {x}), {x}")
    e.absorb()
    e.indent(f"if {y}[0] is EMPTY:")
    e.skip(None)
    e.dedent()
    e.made("[1:]")
    return y


@item.register
def _(node: transform.Rx, e: Emitter, x: str) -> str:
    hosted, y = e.state("hosted", f"run.host({e.param('rx', e.step)})"), e.value()
    e.absorb()
    e.open_loop(f"for {y} in {hosted}.push({x}):")
    e.made()
    e.stop(f"{hosted}.ended")
    return y


@end.register
def _(node: transform.Rx, e: Emitter) -> str:
    hosted, y = e.state("hosted", f"run.host({e.param('rx', e.step)})"), e.value()
    e.open_loop(f"for {y} in {hosted}.finish():")
    e.made()
    return y

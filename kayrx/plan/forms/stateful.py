"""The form of a map that remembers."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from kayrx.nodes import stateful
from kayrx.nodes.values import is_async
from kayrx.plan.emit import LITERALS, Emitter
from kayrx.plan.forms.base import item
from kayrx.plan.forms.transform import seeded
from kayrx.plan.units import remembering


@item.register
def _(node: stateful.StatefulMap, e: Emitter, x: str) -> str:
    guarded = e.step is not None and bool(e.step.guards)
    if node.key is None and not guarded:
        return alone(node, e, x)
    y, key, state = e.value(), e.value("key"), e.value("state")
    states = e.state("states", "{}" if node.max_keys is None else f"{e.param('ordered', OrderedDict)}()")
    if guarded:
        unit = remembering(node.fn, node.key, node.seed, e.where)
        e.attempt(y, f"{'await ' if is_async(unit) else ''}{e.param('u', unit)}({states}, {x})", unit, states, x)
        e.line(f"{key}, {state}, {y} = {y}")
    else:
        assert node.key is not None
        e.line(f"{key} = {e.call(node.key, x, hint='key')}")
        if type(node.seed) in LITERALS:
            e.line(f"{state} = {states}.get({key}, {e.constant('seed', node.seed)})")
        else:
            e.line(f"{state} = {states}.get({key}, EMPTY)")
            e.line(f"if {state} is EMPTY: {state} = {seeded(e, node.seed)}")
        text = e.call(node.fn, state, x)
        e.line(f"{state}, {y} = {text}")
    keep(node, e, states, key, state)
    return y


def alone(node: stateful.StatefulMap, e: Emitter, x: str) -> str:
    """One state, and nobody who may ask for it again."""
    state, y = e.state("state", seeded(e, node.seed)), e.value()
    text = e.call(node.fn, state, x)
    e.line(f"{state}, {y} = {text}")
    if node.seed is not None:
        e.line(f"if {state} is None: {state} = {seeded(e, node.seed)}")
    return y


def keep(node: stateful.StatefulMap, e: Emitter, states: Any, key: str, state: str) -> None:
    """Commit a new state; evict the one that nobody has asked for longest."""
    e.line(f"if {state} is None: {states}.pop({key}, None)")
    e.indent("else:")
    e.line(f"{states}[{key}] = {state}")
    if node.max_keys is not None:
        e.line(f"{states}.move_to_end({key})")
        e.indent(f"if len({states}) > {node.max_keys}:")
        if node.on_evict is None:
            e.line(f"{states}.popitem(False)")
        else:
            e.line(f"{key}, {state} = {states}.popitem(False)")
            e.line(e.call(node.on_evict, key, state, hint="evict"))
        e.dedent()
    e.dedent()

"""Forms of nodes with a copy of their body for each group."""

from __future__ import annotations

from kayrx.nodes import groups
from kayrx.plan.emit import Emitter
from kayrx.plan.forms.base import end, item, of_parents
from kayrx.plan.plan import Saving
from kayrx.plan.traits import rests


def groups_of(e: Emitter) -> str:
    return e.state("groups", f"run.groups({e.param('grouping', e.step)}, {waiting(e)})")


def waiting(e: Emitter) -> bool:
    """True if the body is an async generator: a loop runs, and something in it waits, or may keep others from it."""
    assert e.step is not None
    long = not isinstance(e.options, Saving)
    return e.awaits and any(rests(step) or (long and step.node.expands) for step in e.step.inner)


def given(e: Emitter, call: str) -> str:
    """A loop over what a call of the groups gives."""
    name, arguments = call.split("(", 1)
    return of_parents(e, f"{name}{'_later' if waiting(e) else ''}({arguments}", asynchronous=waiting(e))


def absorbing(e: Emitter) -> str:
    """The id that goes along with an item, which ends in its group."""
    if not e.options.events:
        return "None"
    e.fate("absorbed")
    return e.ident


@item.register
def _(node: groups.GroupBy, e: Emitter, x: str) -> str:
    held, key = groups_of(e), e.value("key")
    e.line(f"{key} = {e.call(node.key, x)}")
    return given(e, f"{held}.push({key}, {x}, {absorbing(e)})")


@item.register
def _(node: groups.InWindows, e: Emitter, x: str) -> str:
    held, count = groups_of(e), e.state("count", "0")
    last = e.value("last")
    e.line(f"{count} = 0 if {x} is EMPTY else {count} + 1")  # its time is over, or an item more
    e.line(f"{last} = {count} == {node.count}")
    e.line(f"if {last}: {count} = 0")
    return given(e, f"{held}.push(None, {x}, {absorbing(e)}, {last})")


@end.register(groups.GroupBy)
@end.register(groups.InWindows)
def _(node: groups.Grouping, e: Emitter) -> str:
    return given(e, f"{groups_of(e)}.rest()")

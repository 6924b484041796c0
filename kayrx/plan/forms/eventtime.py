"""Forms of windows by event time."""

from __future__ import annotations

from kayrx.nodes import eventtime
from kayrx.plan.emit import Emitter
from kayrx.plan.forms.base import end, item, of_parents
from kayrx.plan.panes import Panes


def panes_of(node: eventtime.WindowBy, e: Emitter) -> str:
    assert e.step is not None
    return e.state("panes", f"{e.param('Panes', Panes)}({e.param('node', node)}, {e.param('where', e.step.where)})")


@item.register
def _(node: eventtime.WindowBy, e: Emitter, x: str) -> str:
    panes, key, time, opened = panes_of(node, e), e.value("key"), e.value("time"), e.value("opened")
    e.line(f"{key} = {e.call(node.key, x, hint='key') if node.key else None}")
    e.line(f"{time} = {e.call(node.event_time, x, hint='time')}")
    e.line(f"{opened} = {panes}.opened({key}, {time})")
    e.indent(f"for pane in {opened}:")
    if node.fold is None:
        e.line(f"pane.value.append({x})")
    else:
        e.line(f"pane.value = {e.call(node.fold[1], 'pane.value', x, hint='fold')}")
    if e.options.events:
        e.line(f"pane.ids.append({e.ident})")
    e.dedent()
    if e.options.events:
        e.indent(f"if {opened}:")
        e.fate("absorbed")
        e.dedent()
    if not node.late:
        e.indent(f"if not {opened}:")
        e.line(f"run.tell('late', node={e.label}, key={key}, time={time})")
        e.fate("dropped")
        e.dedent()
    return of_parents(e, f"{panes}.given({opened}, {time}, {x})")


@end.register
def _(node: eventtime.WindowBy, e: Emitter) -> str:
    return of_parents(e, f"{panes_of(node, e)}.rest()")

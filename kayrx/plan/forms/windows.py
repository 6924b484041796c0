"""Forms of the windows family."""

from __future__ import annotations

from kayrx.nodes import windows
from kayrx.plan.emit import Emitter
from kayrx.plan.forms.base import end, item, last


@item.register
def _(node: windows.Buffer, e: Emitter, x: str) -> str:
    held, y = e.state("held", "[]"), e.value()
    e.line(f"{held}.append({x})")
    e.absorb()
    e.indent(f"if len({held}) < {node.count}:")
    e.skip(None)
    e.dedent()
    e.line(f"{y}, {held} = {held}, []")
    e.made()
    return y


@end.register
def _(node: windows.Buffer, e: Emitter) -> str:
    held = e.state("held", "[]")
    y = last(e, held, held)
    e.made()
    return y


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
    e.absorb()
    e.indent(f"if len({held}) < {node.count}:")
    e.skip(None)
    e.dedent()
    e.line(f"{y}, {held}, {fresh} = {held}, {held}[{node.step}:], 0")
    if gap:
        e.line(f"{away} = {gap}")
    e.made(f"[{node.step}:]")
    return y


@end.register
def _(node: windows.Sliding, e: Emitter) -> str:
    y = last(e, e.state("held", "[]"), e.state("fresh", "0"))
    e.made()
    return y

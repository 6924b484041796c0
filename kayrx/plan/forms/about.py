"""Forms of what is known of an item."""

from __future__ import annotations

from typing import Any

from kayrx.nodes import about
from kayrx.plan.emit import Emitter
from kayrx.plan.forms.base import item
from kayrx.plan.forms.transform import past_marks


@item.register
def _(node: about.WithIndex, e: Emitter, x: str) -> str:
    index, y = e.state("index", e.constant("start", node.start)), e.value()
    e.line(f"{y} = ({index}, {x})")
    e.line(f"{index} += 1")
    return y


@item.register
def _(node: about.Stamp, e: Emitter, x: str) -> str:
    y = e.value()
    stamped, made = e.param("stamped", about.Timestamp), e.param("made", tuple.__new__)  # a third of the class's own
    if marked := past_marks(e, x):
        e.line(f"{y} = {x}")
        e.dedent()
        e.indent("else:")
    e.line(f"{y} = {made}({stamped}, ({x}, {e.state('now', 'run.backend.now')}()))")
    if marked:
        e.dedent()
    return y


def told(notification: Any) -> bool:
    """True for completion; raises what an OnError tells of."""
    if isinstance(notification, about.OnError):
        raise notification.error
    if isinstance(notification, about.OnCompleted):
        return True
    raise TypeError(f"dematerialize takes what materialize gives (kx.OnNext, kx.OnError, kx.OnCompleted), "
                    f"got {type(notification).__name__}")


@item.register
def _(node: about.Dematerialize, e: Emitter, x: str) -> str:
    over, y = e.state("over", "False"), e.value()
    e.stop(over)
    e.indent(f"if type({x}) is not {e.param('on_next', about.OnNext)}:")
    e.line(f"{over} = {e.param('told', told)}({x})")
    e.skip()
    e.dedent()
    e.line(f"{y} = {x}.value")
    return y

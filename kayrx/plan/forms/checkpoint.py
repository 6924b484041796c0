"""The form of a checkpoint: it counts, and asks for a barrier when it is time."""

from __future__ import annotations

from kayrx.nodes import checkpoint
from kayrx.plan.emit import Emitter
from kayrx.plan.forms.base import item


@item.register
def _(node: checkpoint.Checkpoint, e: Emitter, x: str) -> str:
    if not e.saves:
        return x
    passed = e.state("passed", "0")
    e.line(f"{passed} += 1")
    test = f"{passed} >= {node.every}"
    if node.seconds is not None:
        clock, due = e.state("clock", "run.backend.now"), e.state("due", f"run.backend.now() + {node.seconds!r}")
        test += f" or {clock}() >= {due}"
    e.indent(f"if {test}:")
    e.line(f"{passed} = 0")
    if node.seconds is not None:
        e.line(f"{due} = {clock}() + {node.seconds!r}")
    e.line("run.saver.ask()")
    e.dedent()
    return x

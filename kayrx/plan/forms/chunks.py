"""The form of cutting anew: what has come goes into the cutter, and its pieces are new items."""

from __future__ import annotations

from functools import partial

from kayrx.nodes import chunks
from kayrx.plan.cutting import cutter
from kayrx.plan.emit import Emitter
from kayrx.plan.forms.base import end, item


def cut(node: chunks.Chunk, e: Emitter) -> str:
    return e.state("cutter", f"{e.param('cut', partial(cutter, node))}()")


@item.register
def _(node: chunks.Chunk, e: Emitter, x: str) -> str:
    held, y = cut(node, e), e.value()
    e.absorb()
    e.open_loop(f"for {y} in {held}.push({x}):")
    e.made(f"[-1:] if {held}.left else []")  # the newest may be in the next piece as well
    return y


@end.register
def _(node: chunks.Chunk, e: Emitter) -> str:
    y = e.value()
    e.open_loop(f"for {y} in {cut(node, e)}.finish():")
    e.made()
    return y

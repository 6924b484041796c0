"""Forms: what a node does to one item, and at the end, as lines of a generated function.

`item(node, e, x)` writes the lines for one item held in variable ``x`` and gives the variable that
goes on, or None if nothing goes on at this point.  `end(node, e)` writes what the node still gives
when its input has completed: it opens a loop and gives its variable, or gives None.  A node without
a row here is run by its Rx operator (`kayrx.plan.lower`).
"""

from __future__ import annotations

from functools import singledispatch

from kayrx.errors import CompileError
from kayrx.graph.node import Node
from kayrx.plan.emit import Emitter


@singledispatch
def item(node: Node, e: Emitter, x: str) -> str | None:
    raise CompileError(f"{node.where} has no form: add a row to kayrx/plan/forms or kayrx/plan/lower.py, "
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
    e.open_loop(f"for {y} in ({held},) if {test} else ():", many=False)
    return y


def kept(e: Emitter, x: str) -> str:
    """The text of an item that is held to be given later, together with its id where ids are carried."""
    return f"({e.ident}, {x})" if e.options.events else x


def given(e: Emitter) -> tuple[str, str]:
    """What a held item is unpacked into, and its variable; from here on the item is that one."""
    y = e.value()
    if not e.options.events:
        return y, y
    e.ident = f"i{e.number}"
    return f"{e.ident}, {y}", y


def let_go(e: Emitter, held: str) -> None:
    """A held item is given up."""
    if e.options.events:
        e.line(f"run.fate({held}[0], 'filtered', {e.label})")


def of_parents(e: Emitter, many: str, *, asynchronous: bool = False) -> str:
    """Open a loop over pairs of a value and the ids that it is made of; None as ids: it is the item itself."""
    y, ids = e.value(), e.value("ids")
    if asynchronous:
        e.open_async_loop(f"{y}, {ids}", many)
    else:
        e.open_loop(f"for {y}, {ids} in {many}:")
    if e.options.events:
        before, e.ident = e.ident, f"i{e.number}"
        e.line(f"{e.ident} = {before} if {ids} is None else run.made({e.label}, {ids})")
    return y


def gives_at_end(node: Node) -> bool:
    """True if the node may give something when its input has completed."""
    return end.dispatch(type(node)) is not end.dispatch(object)

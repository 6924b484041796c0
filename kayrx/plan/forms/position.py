"""Forms of selection by position."""

from __future__ import annotations

from collections import deque
from typing import Any

from kayrx.errors import RunError
from kayrx.nodes import position
from kayrx.nodes.values import EMPTY
from kayrx.plan.emit import Emitter
from kayrx.plan.forms.base import end, given, item, kept, last, let_go


def no_item(where: str) -> Exception:
    return RunError(f"{where}: the source has completed without such an item; give a default")


def instead(e: Emitter, default: Any, test: str) -> str | None:
    """At the end, if ``test`` holds: give the default, or fail where there is none."""
    if default is EMPTY:
        assert e.step is not None
        e.line(f"if {test}: raise {e.param('no_item', no_item)}({e.param('where', e.step.where)})")
        return None
    y = last(e, e.constant("default", default), test)
    e.made()
    return y


@item.register
def _(node: position.TakeLast, e: Emitter, x: str) -> None:
    if not node.count:
        e.fate("filtered")
        return
    held = e.state("held", f"{e.param('deque', deque)}(maxlen={node.count})")
    if e.options.events:
        e.indent(f"if len({held}) == {node.count}:")
        let_go(e, f"{held}[0]")
        e.dedent()
    e.line(f"{held}.append({kept(e, x)})")


@end.register
def _(node: position.TakeLast, e: Emitter) -> str | None:
    if not node.count:
        return None
    held = e.state("held", f"{e.param('deque', deque)}(maxlen={node.count})")
    target, y = given(e)
    e.open_loop(f"for {target} in {held}:")
    return y


def chosen(node: position.Picks, e: Emitter, x: str) -> None:
    if node.fn is not None:
        e.indent(f"if not ({e.call(node.fn, x)}):")
        e.skip()
        e.dedent()


@item.register
def _(node: position.First, e: Emitter, x: str) -> str:
    found = e.state("found", "False")
    chosen(node, e, x)
    e.line(f"{found} = True")
    e.stop(found)
    return x


@end.register
def _(node: position.First, e: Emitter) -> str | None:
    return instead(e, node.default, f"not {e.state('found', 'False')}")


@item.register
def _(node: position.Last, e: Emitter, x: str) -> None:
    newest = e.state("newest", "EMPTY")
    chosen(node, e, x)
    if e.options.events:
        e.indent(f"if {newest} is not EMPTY:")
        let_go(e, newest)
        e.dedent()
    e.line(f"{newest} = {kept(e, x)}")


@end.register
def _(node: position.Last, e: Emitter) -> str:
    newest = e.state("newest", "EMPTY")
    if node.default is EMPTY:
        instead(e, EMPTY, f"{newest} is EMPTY")
    elif not e.options.events:
        e.line(f"if {newest} is EMPTY: {newest} = {e.constant('default', node.default)}")
    else:
        e.line(f"if {newest} is EMPTY: {newest} = (run.made({e.label}, ()), {e.constant('default', node.default)})")
    target, y = given(e)
    e.open_loop(f"for {target} in ({newest},):", many=False)
    return y


@item.register
def _(node: position.ElementAt, e: Emitter, x: str) -> str:
    left = e.state("left", str(node.index + 1))
    e.line(f"{left} -= 1")
    e.indent(f"if {left}:")
    e.skip()
    e.dedent()
    e.stop(f"not {left}")
    return x


@end.register
def _(node: position.ElementAt, e: Emitter) -> str | None:
    return instead(e, node.default, e.state("left", str(node.index + 1)))


@item.register
def _(node: position.DefaultIfEmpty, e: Emitter, x: str) -> str:
    e.line(f"{e.state('empty', 'True')} = False")
    return x


@end.register
def _(node: position.DefaultIfEmpty, e: Emitter) -> str | None:
    return instead(e, node.value, e.state("empty", "True"))

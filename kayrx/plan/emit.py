"""The emitter: writes one Python function for a run of steps, and knows which line is whose.

The text depends only on the shape of the run (kinds, arity, flags); functions and constants are
parameters of the enclosing ``link``, so code is compiled once per shape and linked once per graph.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kayrx.graph.expr import Expr
from kayrx.nodes.derived import one_more
from kayrx.nodes.values import is_async, is_async_generator
from kayrx.plan.inline import source_of
from kayrx.plan.plan import LOOK, Options, Step

INFIX: dict[Any, str] = {
    operator.add: "+", operator.sub: "-", operator.mul: "*", operator.truediv: "/", operator.floordiv: "//",
    operator.mod: "%", operator.pow: "**", operator.and_: "&", operator.or_: "|", operator.xor: "^",
    operator.lt: "<", operator.le: "<=", operator.gt: ">", operator.ge: ">=", operator.eq: "==",
    operator.ne: "!=", operator.is_: "is", operator.is_not: "is not",
}
LITERALS = (int, float, str, bool, bytes, type(None))


@dataclass(slots=True)
class Loop:
    """One open block that an item may leave: how to go on, how to end, and when ending is due."""

    go_on: str
    leave: str
    stops: list[str] = field(default_factory=list)
    closes: str = ""  # the async iterator that is closed when the block is left


class Emitter:
    """Collects lines, parameters and state; forms speak to it in terms of items."""

    def __init__(self, options: Options, *, awaits: bool, drives: bool = False) -> None:
        self.options, self.awaits, self.drives = options, awaits, drives
        self.lines: list[str] = []
        self.origins: list[int] = []
        self.depth = 0
        self.loops: list[Loop] = []
        self.step: Step | None = None
        self.number = -1
        self.params: dict[str, Any] = {}
        self.states: dict[str, str] = {}
        self.probed: dict[str, Step] = {}
        self.flags: dict[int, str] = {}
        self.ident = "i"
        self.turn = "if run.due(): await run.rest()" if awaits else ""  # how a loop in an item lets others run
        self.over = ""  # true once nobody wants what comes out
        self.saves = ""  # "whole", "part" or "body", where a barrier may come (see `keeping`)
        self.tail: Callable[[str], None] = lambda x: None

    def at(self, number: int, step: Step | None) -> None:
        """What is written from here on belongs to step ``number``."""
        self.number, self.step = number, step

    # -- text ------------------------------------------------------------------------------------

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)
        self.origins.append(self.number)

    def indent(self, header: str) -> None:
        self.line(header)
        self.depth += 1

    def dedent(self) -> None:
        self.depth -= 1

    # -- names -----------------------------------------------------------------------------------

    def param(self, hint: str, value: Any) -> str:
        """The name of a link-time parameter of the current step."""
        name = f"{hint}_{self.number}"
        self.params.setdefault(name, value)
        return name

    def state(self, hint: str, initial: str) -> str:
        """The name of a variable that lives as long as the run of the graph."""
        name = f"{hint}_{self.number}"
        self.states.setdefault(name, initial)
        return name

    def value(self, hint: str = "x") -> str:
        return f"{hint}{self.number}"

    def constant(self, hint: str, value: Any) -> str:
        if type(value) in LITERALS and value == value and len(repr(value)) < 40 and "inf" not in repr(value):
            return repr(value)
        return self.param(hint, value)

    # -- calling the user ------------------------------------------------------------------------

    def call(self, fn: Callable[..., Any], *args: str, hint: str = "f", waits: bool | None = None) -> str:
        """The text of a call: an expression inline, an operator infix, else ``[await] f(args)``."""
        if isinstance(fn, Expr):
            count = iter(range(1000))
            return fn.source(f"{args[0]}", lambda v: self.constant(f"c{next(count)}{hint}", v))
        if len(args) == 2 and fn in INFIX:
            return f"{args[0]} {INFIX[fn]} {args[1]}"
        if fn is one_more:
            return f"{args[0]} + 1"
        if self.options.inline and (text := source_of(fn, args)):
            return text
        name = self.param(hint, fn)
        if is_async(fn) if waits is None else waits:
            return f"await {name}({', '.join(args)})"
        return f"{self.probed_param(name, fn)}({', '.join(args)})"

    def probed_param(self, name: str, fn: Callable[..., Any]) -> str:
        """The parameter, whose first result is looked at: an awaitable there is a mistake (ruling 24)."""
        if self.step is not None and not is_async_generator(fn):
            self.probed[name] = self.step
        return name

    def attempt(self, target: str, text: str, unit: Callable[..., Any] | str, *args: str, drops: bool = False) -> None:
        """``target = text``, inside the guards of the step; ``unit(*args)`` is the same call, for retries.

        A unit that is known only when the run begins is told by the name of its variable.

        Only an exception enters the guards, unless one of them bounds every call.  ``drops`` says that the call
        itself may give DROPPED.
        """
        step = self.step
        assert step is not None
        if not step.guards:
            self.line(f"{target} = {text}")
            return
        guard = self.state("guard", f"run.guard({self.param('guards', step)})")
        fn = unit if isinstance(unit, str) else self.param("u", unit)
        wait = "await " if self.awaits else ""
        tuple_ = f"({', '.join(args)},)"
        stands = any(g.stands for g in step.guards)
        if stands:
            self.in_hand()
            self.line(f"{target} = {wait}{guard}.{'call' if self.awaits else 'call_now'}({fn}, {tuple_})")
        else:
            self.indent("try:")
            self.line(f"{target} = {text}")
            self.dedent()
            self.indent("except Exception as error:")
            self.in_hand()  # after the call: another task may have had its item in hand meanwhile
            self.line(f"{target} = {wait}{guard}.{'recover' if self.awaits else 'recover_now'}({fn}, {tuple_}, error)")
        if drops and not stands:
            self.dedent()
        if drops or any(g.drops for g in step.guards):
            self.indent(f"if {target} is DROPPED:")
            self.skip()
            self.dedent()
        if not drops and not stands:
            self.dedent()

    # -- items -----------------------------------------------------------------------------------

    def open_loop(self, header: str, *, many: bool = True) -> None:
        """A loop; one over ``many`` items of a node takes turns with other tasks (ruling 26)."""
        self.indent(header)
        self.loops.append(Loop("continue", "break"))
        if many and self.turn:
            self.take_turns()

    def take_turns(self) -> None:
        """Every `LOOK` items it is looked at whether others should run."""
        turns = f"turns{max(self.number, 0)}"
        self.states.setdefault(turns, str(LOOK))
        self.line(f"{turns} -= 1")
        self.indent(f"if not {turns}:")
        self.line(f"{turns} = {LOOK}")
        for line in self.turn.splitlines():
            self.line(line)
        if self.over:
            self.line(f"if {self.over}: break")
        self.dedent()

    def open_async_loop(self, y: str, many: str) -> None:
        """A loop over an async iterator, which is closed in this very task however it is left."""
        held = self.value("many")
        self.line(f"{held} = {many}")
        self.indent("try:")
        self.open_loop(f"async for {y} in {held}:")
        self.loops[-1].closes = held

    def close_loop(self) -> None:
        """End the block; what asks to stop inside it stops the blocks around it as well."""
        loop = self.loops.pop()
        if self.lines[-1].endswith(":"):  # the last step of a graph without a sink
            self.line("pass")
        for flag in loop.stops:
            self.line(f"if {flag}: {loop.leave}")
        self.dedent()
        if loop.closes:
            self.dedent()
            self.indent("finally:")
            self.line(f"if {loop.closes}.ag_frame is not None: await run.closed({loop.closes})")
            self.dedent()
        if self.loops:
            self.loops[-1].stops += [f for f in loop.stops if f not in self.loops[-1].stops]

    def stop(self, flag: str) -> None:
        """Once ``flag`` is true and the item has gone its way, nothing more is read."""
        self.flags.setdefault(self.number, flag)
        if flag not in self.loops[-1].stops:
            self.loops[-1].stops.append(flag)

    def skip(self, fate: str | None = "filtered") -> None:
        """The item goes no further; ``fate`` is None if it has been told already."""
        if fate is not None:
            self.fate(fate)
        for flag in self.loops[-1].stops:
            self.line(f"if {flag}: {self.loops[-1].leave}")
        self.line(self.loops[-1].go_on)

    # -- ids, where events are asked for ----------------------------------------------------------

    @property
    def label(self) -> str:
        return repr(self.step.label) if self.step is not None else "None"

    @property
    def where(self) -> str:
        return self.step.where if self.step is not None else "?"

    def fate(self, what: str) -> None:
        """Tell what became of the item."""
        if self.options.events:
            self.line(f"run.fate({self.ident}, {what!r}, {self.label})")

    def enter(self, text: str) -> None:
        """The item's id comes into the function, as ``text`` has it."""
        if self.options.events:
            self.line(text)

    def in_hand(self) -> None:
        """The guards about to be entered learn whose item it is."""
        if self.options.events:
            self.line(f"run.item = {self.ident}")

    def absorb(self) -> None:
        """The item goes into what the node holds, and ends there."""
        if self.options.events:
            self.line(f"{self.state('ids', '[]')}.append({self.ident})")
            self.fate("absorbed")

    def made(self, keep: str = "[:0]") -> None:
        """What goes on is a new item, made of those absorbed; ``keep`` slices those that stay held."""
        if self.options.events:
            ids, self.ident = self.state("ids", "[]"), f"i{self.number}"
            self.line(f"{self.ident} = run.made({self.label}, {ids})")
            self.line(f"{ids} = {ids}{keep}")

    def split(self) -> None:
        """The item ends, and the loop about to be opened gives its children."""
        if self.options.events:
            self.fate("split")
            self.line(f"child{self.number} = -1")

    def child(self) -> None:
        """One child, at the head of the loop."""
        if self.options.events:
            self.line(f"child{self.number} += 1")
            self.line(f"i{self.number} = run.child({self.ident}, child{self.number})")
            self.ident = f"i{self.number}"

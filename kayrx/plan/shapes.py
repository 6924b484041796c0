"""Shapes: the functions a run of steps can become.

    pump     iterator -> result             a whole synchronous run, in one call
    gen      iterator -> iterator           pulled one item at a time; may rest inside an expansion
    call     item -> list                   ``graph(x)``
    push     emit -> (push, finish)         behind an Observable, a subject or a subscription
    segment  run, source, outs -> task      on a loop (or the synchronous scheduler), between gates

All are written from the same forms, so an answer cannot depend on the shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count, islice, repeat, starmap
from types import CodeType
from typing import Any

from kayrx.nodes.values import EMPTY
from kayrx.plan import keeping
from kayrx.plan.emit import Emitter, Loop
from kayrx.plan.fold import folded, near, once
from kayrx.plan.forms import end as at_end, gives_at_end, item, result
from kayrx.plan.plan import Options, Saving, Step
from kayrx.plan.probe import Probe
from kayrx.plan.units import DROPPED, way_of

Steps = Sequence[Step]


@dataclass(frozen=True, slots=True)
class Code:
    """A linked function, and whose line is whose: ``owners[code object][line] -> step``."""

    function: Callable[..., Any]
    file: str
    owners: tuple[int, ...]
    steps: tuple[Step, ...]
    text: str

    def owner(self, line: int) -> Step | None:
        number = self.owners[line - 1] if 0 < line <= len(self.owners) else -1
        return self.steps[number] if 0 <= number < len(self.steps) else None

    def raised_below(self, error: BaseException) -> bool:
        """True if ``error`` came from whoever was given the item: the line of the tail was running."""
        trace, below = error.__traceback__, False
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == self.file and 0 < trace.tb_lineno <= len(self.owners):
                below = self.owners[trace.tb_lineno - 1] == len(self.steps)
            trace = trace.tb_next
        return below


def flow(e: Emitter, steps: Steps, start: int, x: str | None) -> None:
    """Write the way of one item, from ``steps[start]`` to the tail."""
    depth = len(e.loops)
    for number in range(start, len(steps)):
        e.at(number, steps[number])
        x = item(steps[number].node, e, x or "")
        if x is None:
            break
    else:
        e.at(len(steps), None)
        e.tail(x or "")
    while len(e.loops) > depth:
        e.close_loop()


def completion(e: Emitter, steps: Steps) -> None:
    """Write what the steps still give when their input has ended, each through the steps after it."""
    for number, step in enumerate(steps):
        if not gives_at_end(step.node):
            continue
        e.at(number, step)
        stopped = [flag for at, flag in e.flags.items() if at > number]
        if stopped:  # a take further down has had enough
            e.indent(f"if not ({' or '.join(stopped)}):")
        depth = len(e.loops)
        y = at_end(step.node, e)
        if y is not None:
            flow(e, steps, number + 1, y)
        while len(e.loops) > depth:
            e.close_loop()
        if stopped:
            if e.lines[-1].endswith(":"):
                e.line("pass")
            e.dedent()
    e.at(-1, None)


def result_of(e: Emitter, steps: Steps) -> str:
    if not steps or steps[-1].node.role != "sink":
        return "None"
    e.at(len(steps) - 1, steps[-1])
    text = result(steps[-1].node, e)
    e.at(-1, None)
    return text


# -- synchronous shapes --------------------------------------------------------------------------


def pump(steps: Steps, options: Options, *, yields: bool = False, rests: bool = False, awaits: bool = False,
         entry: str | None = None, hands: bool = False, turns: bool = False) -> Code:
    """``pump(items, run) -> result``, or with ``yields`` a generator of what comes out, async with ``awaits``.

    With ``rests`` it hands on every WAIT of its source, so that a reader can come back later; with ``turns`` it gives
    one every 32 items of its own, so that a reader on a loop is not kept by items that go nowhere.  Where ids are
    asked for, items get theirs by the source's name ``entry``, or come and (``hands``) go as pairs."""
    e = Emitter(options, awaits=awaits)
    if isinstance(options, Saving):
        e.saves = "body" if rests else "part" if yields else "whole"
    if yields:
        e.tail = lambda x: e.line(f"yield ({e.ident}, {x})" if hands and options.events else f"yield {x}")
    if turns:
        e.turn = "yield WAIT"
    e.depth = 2
    e.open_loop("for x in items:", many=turns)
    if rests:
        e.line("if x is WAIT: yield WAIT; continue")
    keeping.meets(e)
    e.enter("i, x = x" if entry is None else f"i = run.enter({entry!r})")
    flow(e, steps, 0, "x")
    e.close_loop()
    completion(e, steps)
    if yields:
        e.line("return; yield")
    else:
        e.line(f"return {result_of(e, steps)}")
    return link(e, steps, f"items, run{near(e.lines)}", kind="async def" if awaits else "def", flat=not awaits)


def call(steps: Steps, options: Options, blame: Callable[[Exception], None], *, bare: bool) -> Code:
    """``call(x) -> list`` of what one item gives, completion included; ``blame`` sees what is raised.

    With ``bare`` no step needs the run; else it is ``call(x, run)``.
    """
    e = Emitter(replace(options, events=False), awaits=False)
    e.depth = 3
    straight = not any(gives_at_end(s.node) or s.node.expands for s in steps)
    if straight:
        e.tail = lambda x: e.line(f"return [{x}]")
        e.loops.append(Loop("return []", "return []"))
        flow(e, steps, 0, "x")
        e.lines = once(e.lines, e.states)
        e.line("return []")  # for an item that goes nowhere
    else:
        e.tail = lambda x: e.line(f"out.append({x})")
        e.line("out = []")
        e.open_loop("for x in (x,):", many=False)
        flow(e, steps, 0, "x")
        e.close_loop()
        completion(e, steps)
        e.line("return out")
    e.at(len(steps), None)
    e.depth = 2
    e.indent("except Exception as error:")
    e.line(f"{e.param('blame', blame)}(error)")
    e.line("raise")
    return link(e, steps, "x" if bare else "x, run", extra=("try:",), flat=True)


def unit(steps: Steps, options: Options) -> Code:
    """``unit(x, run) -> iterator`` over the outputs of one item: the inside of a guarded unit."""
    e = Emitter(replace(options, events=False), awaits=False)
    e.tail = lambda x: e.line(f"yield {x}")
    e.depth = 2
    e.open_loop("for x in (x,):", many=False)
    flow(e, steps, 0, "x")
    e.close_loop()
    e.line("return; yield")
    return link(e, steps, "x, run")


# -- putting a function together -----------------------------------------------------------------

HINTED: tuple[type, ...] = (type(iter([])), type(iter(())), type(iter(range(0))))
"""Iterators that know what they have left, and run no code of a user between two items."""
END: Any = object()
_links = count(1)
WAIT: Any = object()


def gone(*_: object) -> None:
    """Where an item goes that is pushed after the end: nowhere."""


class Left(BaseException):
    """Unwinds an item whose reader has left."""


def left(_: object) -> None:
    """What takes an item then."""
    raise Left


GLOBALS: dict[str, Any] = {"GONE": gone, "Left": Left, "left": left, "EMPTY": EMPTY, "DROPPED": DROPPED, "END": END,
                           "WAIT": WAIT, "islice": islice, "repeat": repeat, "starmap": starmap, "HINTED": HINTED,
                           "way_of": way_of, **keeping.GLOBALS}


def link(e: Emitter, steps: Steps, signature: str, *, extra: Sequence[str] = (), kind: str = "def",
         outer: Sequence[str] = (), leave: Sequence[str] = (), foot: Sequence[str] = (), flat: bool = False,
         reenters: bool = False) -> Code:
    """Compile the emitted body (cached by its text) and bind the parameters of this graph to it, as variables of
    the function around it or, ``flat``, of its module: a short call is faster so.

    ``extra`` and ``foot`` are the first and last lines of the function, ``outer`` and ``leave`` those
    of a function around it; it ``reenters`` if a function of the graph may call it anew.
    """
    head = [f"def link({', '.join(e.params)}):" if not flat else "def link(**_):"]
    where = "global" if flat else "nonlocal"
    for name in e.probed:
        head += [f"    def know_{name}(f):", f"        {where} {name}", f"        {name} = f"]
    head += ["    " + line for line in outer]
    inset = "    " * (2 if outer else 1)
    head.append(f"{inset}{kind} run_({signature}):")
    head += [f"{inset}    {name} = {initial}" for name, initial in e.states.items()]
    head += [f"{inset}    {line}" for line in (*keeping.keeper(e, steps), *extra)]
    knows = "".join(f"know_{n}, " for n in e.probed)
    tail = [f"{inset}    {line}" for line in foot] + ["    " + line for line in leave]
    tail.append(f"    return {'open_' if outer else 'run_'}, ({knows})")
    lines, origins = folded(tuple(e.lines), tuple(e.origins), tuple(e.states) if reenters else ())
    text = "\n".join([*head, *lines, *tail]) + "\n"
    code = called(compiled(text), f"<kayrx {next(_links)}>")
    scope: dict[str, Any] = dict(GLOBALS)
    exec(code, scope)
    probes = {name: Probe(e.params[name], step) for name, step in e.probed.items()}
    params = {**e.params, **probes}
    if flat:
        scope.update(params)
    function, knowers = scope["link"](**params)
    for probe, know in zip(probes.values(), knowers, strict=True):
        probe.know = know
    owners = (-1,) * len(head) + origins + (-1,) * len(tail)
    return Code(function, code.co_filename, owners, tuple(steps), text)


@lru_cache(maxsize=1024)
def compiled(text: str) -> CodeType:
    """The code of a text, shared by all steps that have this shape."""
    return compile(text, "<kayrx>", "exec")


def called(code: CodeType, file: str) -> CodeType:
    """The code under a file name of its own, so that a traceback tells apart two links of one text."""
    return code.replace(co_filename=file, co_consts=tuple(
        called(c, file) if isinstance(c, CodeType) else c for c in code.co_consts))

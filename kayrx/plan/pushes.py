"""The shape of a push: steps behind a source that calls, as a function of one item."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from kayrx.plan.emit import Emitter, Loop
from kayrx.plan.plan import Options
from kayrx.plan.shapes import Code, Steps, completion, flow, gone, link, result_of


def push(steps: Steps, options: Options) -> Code:
    """``open(run, emit, complete, failed=None, others=GONE) -> (push, finish, beside)``.

    ``complete(result)`` is called once.  What a step raises goes to whoever pushes, or to ``failed(error)``: in a
    wrapper around ``push`` that would cost half as much again as the push.  A `Subject` gives ``push`` away to whoever
    asks, so there is a way back: once the steps have ended, or from ``finish(True)`` to ``finish(False)``, ``push``
    hands what it is given to ``others``, who push it ``beside`` if it is meant for these steps too.

    ``finish(GONE)`` says that the reader has left.  It may do so from inside ``emit``, at an item that goes on for
    ever: `left` takes the place of ``emit`` then, and ends that, so that no item pays for the question.  What is
    raised after the end goes to ``failed`` too, which gives True to have it raised.

    It does so by the code of ``aside``, as looking for a flag would cost every item 4 %.  A function takes only code
    with as many variables from around it, which is why both declare the same.
    """
    e = Emitter(replace(options, events=False), awaits=False)
    e.tail = lambda x: e.line(f"emit({x})")
    e.depth = 4
    e.loops.append(Loop("return", "return finish()"))
    flow(e, steps, 0, "x")
    for flag in e.loops[0].stops:
        e.line(f"if {flag}: return finish()")
    enough = [flag for flag in e.flags.values() if flag != "True"]
    e.loops.clear()
    taken, e.lines = e.lines, []
    origins, e.origins = e.origins, []
    if enough:  # what is pushed from inside the last item comes too late
        taken.insert(0, f"                if {' or '.join(enough)}: return")
        origins.insert(0, -1)
    e.depth = 4
    completion(e, steps)
    given = result_of(e, steps)
    ended, ends = e.lines, e.origins
    e.lines, e.origins, e.depth = [], [], 2
    run = ["run"] if any(re.search(r"\brun\b", line) for line in taken) else []
    around = ", ".join([*run, "emit", "finish", "others", *e.states])
    for name in "push", "beside":
        e.indent(f"def {name}(x):")
        e.line(f"nonlocal {around}")
        if name == "beside":
            e.line("if over: return")
        e.line("try:")
        e.lines += taken or ["                pass"]
        e.origins += origins or [-1]
        e.indent("except BaseException as error:")
        e.line("if finish(None, error): raise")
        e.dedent()
        e.dedent()
    e.indent("def aside(x):")
    e.line(f"nonlocal {around}")
    e.line("return others(x)")
    e.dedent()
    e.indent("def finish(aside=None, error=None):")
    e.line(f"nonlocal {', '.join(['emit', 'over', *e.states])}")
    e.indent("if aside is not None:")
    e.line("if aside is GONE: over, emit = True, left")
    e.line("push.__code__ = away if aside or over else step")
    e.line("return")
    e.dedent()
    e.line("if type(error) is Left: return")
    e.line("if error is not None and failed is None: return True")
    e.line("if over: return error is not None and failed(error)")
    e.line("over, push.__code__ = True, away")
    e.indent("if error is not None:")
    e.line("failed(error)")
    e.line("return")
    e.dedent()
    e.indent("try:")
    e.lines += ended
    e.origins += ends
    e.line(f"result = {given}")
    e.dedent()
    e.indent("except BaseException as raised:")
    e.line("if type(raised) is Left: return")
    e.line("if failed is None: raise")
    e.line("failed(raised)")
    e.line("return")
    e.dedent()
    e.line("complete(result)")
    e.dedent()
    return link(e, steps, "run, emit, complete, failed=None, others=GONE", flat=True, reenters=True,
                extra=("global step, away", "over = False"),
                foot=("step, away = push.__code__, aside.__code__", "return push, finish, beside"))


@dataclass(frozen=True, slots=True)
class Pushes:
    """The runs of a plan as one ``open(run, emit, complete, failed)``: each pushes into the next."""

    codes: tuple[Code, ...]

    def function(self, run: Any, emit: Any, complete: Any, failed: Any = None,
                 others: Any = gone) -> tuple[Any, Any, Any]:
        push, ends, beside = emit, complete, gone
        finishes: list[Any] = []
        for number, code in reversed(list(enumerate(self.codes))):
            push, finish, beside = code.function(run, push, ends, failed, gone if number else others)
            ends = lambda _, finish=finish: finish()  # noqa: E731
            finishes.append(finish)
        if len(finishes) == 1:
            return push, finish, beside

        def finish_all(aside: Any = None) -> None:
            for one in finishes if aside is gone else finishes[-1:]:
                one(aside)

        return push, finish_all, beside

    def raised_below(self, error: BaseException) -> bool:
        return self.codes[-1].raised_below(error)

"""The shape of a push: steps behind a source that calls, as a function of one item."""

from __future__ import annotations

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
    """
    e = Emitter(replace(options, events=False), awaits=False)
    e.tail = lambda x: e.line(f"emit({x})")
    e.depth = 4
    e.loops.append(Loop("return", "return finish()"))
    flow(e, steps, 0, "x")
    for flag in e.loops[0].stops:
        e.line(f"if {flag}: return finish()")
    e.loops.clear()
    taken, e.lines = e.lines, []
    origins, e.origins = e.origins, []
    e.depth = 3
    completion(e, steps)
    given = result_of(e, steps)
    ended, ends = e.lines, e.origins
    names = ", ".join(["away", "over", *e.states])
    e.lines, e.origins, e.depth = [], [], 2
    for name, first in ("push", "if away: return others(x)"), ("beside", "if over: return"):
        e.indent(f"def {name}(x):")
        e.line(f"nonlocal {names}")
        e.line(first)
        e.line("try:")
        e.lines += taken or ["                pass"]
        e.origins += origins or [-1]
        e.indent("except BaseException as error:")
        e.line("if failed is None: raise")
        e.line("away = over = True")
        e.line("failed(error)")
        e.dedent()
        e.dedent()
    e.indent("def finish(aside=None):")
    e.line(f"nonlocal {names}")
    e.line("if over: return")
    e.line("away, over = aside is not False, aside is None")
    e.line("if not over: return")
    e.lines += ended
    e.origins += ends
    e.line(f"complete({given})")
    e.dedent()
    return link(e, steps, "run, emit, complete, failed=None, others=GONE", extra=("away = over = False",),
                foot=("return push, finish, beside",), flat=True)


@dataclass(frozen=True, slots=True)
class Pushes:
    """The runs of a plan as one ``open(run, emit, complete, failed)``: each pushes into the next."""

    codes: tuple[Code, ...]

    def function(self, run: Any, emit: Any, complete: Any, failed: Any = None,
                 others: Any = gone) -> tuple[Any, Any, Any]:
        push, ends, beside = emit, complete, gone
        for number, code in reversed(list(enumerate(self.codes))):
            outside = () if number else (failed, others)
            push, finish, beside = code.function(run, push, ends, *outside)
            ends = lambda _, finish=finish: finish()  # noqa: E731
        return push, finish, beside

    def raised_below(self, error: BaseException) -> bool:
        return self.codes[-1].raised_below(error)

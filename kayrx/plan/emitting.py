"""Behind a head written by hand: the steps after a stage or a crew, as functions that it calls."""

from __future__ import annotations

from collections.abc import Sequence

from kayrx.nodes.flow import holds
from kayrx.nodes.transform import Map, Tap
from kayrx.nodes.values import is_async
from kayrx.plan.emit import Emitter, Loop
from kayrx.plan.keeping import meets
from kayrx.plan.plan import Gate, Options, Saving, Segment
from kayrx.plan.segments import batch, looks, put
from kayrx.plan.shapes import Code, Steps, completion, flow, link, result_of
from kayrx.plan.traits import is_pool, rests


def emitting(seg: Segment, gates: Sequence[Gate], options: Options) -> Code:
    """``open_(run, outs) -> (emit, finish, slices, position)`` for a head written by hand: a stage or a crew.

    ``emit(x)`` is true once nothing more is wanted; ``finish()`` gives the sink's result.  Both are
    coroutine functions if `emit_waits`, else plain ones.  ``slices`` is the worker of an ordered crew whose
    results are not `held_up`, or None (see `sliced`).  ``position()`` is the ordinal of the item that a stage has
    given last, from 0; a crew numbers its items itself.
    """
    steps = after_head(seg)
    waits = emit_waits(seg, gates, options)
    pool = next((s.node for s in seg.steps if is_pool(s)), None)
    ordered = getattr(pool, "ordered", False) and not held_up(seg, gates, options)
    outs = [gates[i] for i in seg.outs]
    e = Emitter(options, awaits=waits)
    e.tail = lambda x: put(e, seg, outs, x)
    e.depth = 3
    e.loops.append(Loop("return False", "return over()"))
    e.saves = "whole" if isinstance(options, Saving) else ""
    meets(e, seg.index)
    if seg.fed == "stage":
        e.states["given"] = "0"
        e.line("given += 1")
    if options.events:
        e.line("i, x = x")
    flow(e, steps, 0, "x")
    for flag in e.loops[0].stops:
        e.line(f"if {flag}: return over()")
    e.loops.clear()
    taken, e.lines = e.lines, []
    origins, e.origins = e.origins, []
    completion(e, steps)
    given = result_of(e, steps)
    parts: list[tuple[str, list[str], list[str], list[int], str]] = [
        ("emit(x)", ["if ended: return True"], taken, origins, "return False"),
        ("finish()", [], e.lines, e.origins, f"return {given}")]
    e.lines, e.origins, e.depth = [], [], 2
    for header, first, lines, owners, foot in parts:
        e.indent(f"{'async ' if waits else ''}def {header}:")
        e.line(f"nonlocal {', '.join(['ended', *e.states])}")
        for text in first:
            e.line(text)
        e.lines += lines
        e.origins += owners
        e.line(foot)
        e.dedent()
    if ordered:
        sliced(e, seg, steps, drops=options.events or any(s.guards for s in seg.steps))
    e.indent("def over():")
    e.line("nonlocal ended")
    e.line("ended = True")
    e.line("return True")
    e.dedent()
    position = "lambda: given - 1" if seg.fed == "stage" else "None"
    foot = f"return emit, finish, {'slices' if ordered else 'None'}, {position}"
    return link(e, steps, "run, outs", extra=("ended = False",), foot=(foot,))


def sliced(e: Emitter, seg: Segment, steps: Steps, *, drops: bool) -> None:
    """``slices(crew, source, fn, done)``: a worker that takes, calls and hands over in one loop, as long as it lives.

    The way of an item is written into the loop, so a result whose turn has come costs no further call, and
    next to nothing while its worker is the only one with an item.  Any other goes to ``crew.leave``.  No frame of ours
    stands between the task and the call: each would cost every wait its price.
    """
    e.at(-1, None)
    many = gives_many(seg)
    # In the middle of a result every other worker would take an item and then wait, so that is for the long ones.
    e.turn = "looks, rests = looks - 1, run.due()\n" \
        f"if rests and (looks < 1 or run.late()): looks, rests = {looks(e)}, await crew.pause(number)"
    e.indent("async def slices(crew, source, fn, done):")
    e.line(f"nonlocal {', '.join(['ended', *e.states])}")
    if many:
        e.line(f"looks, rests = {looks(e)}, False")
    e.indent("try:")
    e.indent("while await crew.in_order():")
    e.line("crew.begin()")
    e.indent("while not crew.halted:")
    e.line("item = END")
    e.open_loop(f"for item in islice(source, {batch(e.options)}):", many=False)
    if turns(seg):
        e.line("if item is WAIT: break")
    e.line("number = crew.started")
    e.line("crew.started = after = number + 1")
    e.line("x = await fn(item)")
    e.indent("if not crew.alone:")
    e.indent(f"if crew.only or crew.halted or number != crew.turn or done{' or crew.sending' if many else ''}:")
    e.line("await crew.leave(number, x)")
    e.line("if crew.halted: break")
    e.line("continue")
    e.dedent()
    e.line("crew.turn = after")
    e.dedent()
    if drops:
        e.line("if x is DROPPED: continue")
    if e.options.events:
        e.ident = "i"
        e.line("i, x = x")
    flow(e, steps, 0, "x")
    e.at(-1, None)
    if many:
        e.line(f"looks = {looks(e)}")
        e.indent(f"if {'(done or rests)' + ''.join(f' and not {flag}' for flag in sorted(set(e.flags.values())))}:")
        e.line("if done: await crew.drain()")
        e.indent("if rests:")
        rested(e)
        e.line("rests = False")
        e.dedent()
        e.line("if crew.halted: break")
        e.dedent()
    e.close_loop()
    if e.flags:
        e.indent(f"if {' or '.join(sorted(set(e.flags.values())))}:")
        e.line("over()")
        e.line("crew.finish_early()")
        e.line("return")
        e.dedent()
    e.indent("if item is END:")
    e.line("crew.end()")
    e.line("return")
    e.dedent()
    e.indent("if run.due():")
    rested(e)
    e.dedent()
    e.line("elif not crew.only: crew.begin()")
    e.dedent()
    e.line("crew.end()")
    e.dedent()
    e.dedent()
    e.line("except BaseException as error: crew.broken(error)")
    e.line("finally: crew.gone()")
    e.dedent()


def rested(e: Emitter) -> None:
    """A worker without an item lets others run."""
    e.line("crew.end()")
    e.line("await run.rest()")
    e.line("crew.begin()")


def turns(seg: Segment) -> bool:
    """True if the steps before the pool of a crew may keep it from its turn: of many items they may give none."""
    pool = next((i for i, s in enumerate(seg.steps) if is_pool(s)), 0)
    return any(not isinstance(s.node, (Map, Tap)) for s in seg.steps[:pool])


def after_head(seg: Segment) -> Steps:
    """The steps that `emitting` writes: all of a stage's, and those after the pool of a crew."""
    steps = seg.runs[-1]
    at = next((i for i, s in enumerate(steps) if is_pool(s)), -1)
    return steps[at + 1:]


def gives_many(seg: Segment) -> bool:
    """True if one item of the head may become many, between which others want their turn."""
    return any(s.node.expands or s.inner for s in after_head(seg))


def emit_waits(seg: Segment, gates: Sequence[Gate], options: Options) -> bool:
    """True if sending an item on may have to wait: because it is `held_up`, or for others that want their turn."""
    return gives_many(seg) or held_up(seg, gates, options)


def held_up(seg: Segment, gates: Sequence[Gate], options: Options) -> bool:
    """True if an item may have to wait on its way: for room below, for an async step, or for a checkpoint."""
    fan = seg.fan is not None and (any(is_async(fn) for fn in seg.fan.node.functions)
                                   or getattr(seg.fan.node, "replay", None) is not None)
    return fan or isinstance(options, Saving) \
        or any(holds(gates[i].overflow) for i in seg.outs) or any(rests(s) for s in after_head(seg))

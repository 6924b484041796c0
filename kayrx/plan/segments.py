"""The shape of a segment: one task, from the gate above it to the gates below it.

Generated as ``open_(run, source, outs, lane) -> (main, control)``: ``main()`` is the task, and
``control(True)`` makes it leave its reading loop after the item at hand, for pause and stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kayrx.nodes import combine, loops, sides, units
from kayrx.nodes.flow import Measured, Policy, holds
from kayrx.nodes.values import is_async
from kayrx.plan.emit import Emitter
from kayrx.plan.fold import near
from kayrx.plan.forms.base import kept
from kayrx.plan.keeping import meets
from kayrx.plan.plan import LOOK, SLICE, Gate, Options, Saving, Segment
from kayrx.plan.shapes import Code, Steps, completion, flow, link, result_of
from kayrx.plan.traits import rests


def segment(seg: Segment, gates: Sequence[Gate], options: Options, *, yields: bool = False) -> Code:
    """The code of one segment; with ``yields`` an async generator of what comes out."""
    steps = seg.runs[-1]
    outs = [gates[i] for i in seg.outs]
    e = Emitter(options, awaits=True)
    e.saves = "whole" if isinstance(options, Saving) else ""
    e.tail = (lambda x: e.line(f"yield {x}")) if yields else (lambda x: put(e, seg, outs, x))
    e.depth = 3
    if outs:  # also where no item gets as far as the tail, as before a reduce
        e.flags[len(steps)] = e.over = "outs.over"
    head = poured if pours(seg, outs, options) and not yields else {
        "iter": from_iterator, "aiter": from_async, "push": from_async, "gate": from_lane}[seg.fed]
    head(e, seg, steps)
    completion(e, steps)
    e.line("return; yield" if yields else f"return {result_of(e, steps)}")
    outer = ("def open_(run, source, outs, lane):", "    signal = False", "    def control(value):",
             "        nonlocal signal", "        signal = value")
    held = "".join(f", {name}={name}" for name in e.params if name not in e.probed) + near(e.lines)
    return link(e, steps, held[2:], kind="async def", outer=outer, leave=("    return run_, control",),
                extra=("now, checkpoint = run.pace, run.backend.checkpoint",
                       f"looks, until = {looks(e)}, now() + {SLICE}"))


def unit(steps: Steps, options: Options) -> Code:
    """``unit(x, run) -> async iterator`` over the outputs of one item: a guarded unit that waits."""
    e = Emitter(replace(options, events=False), awaits=True)
    e.tail = lambda x: e.line(f"yield {x}")
    e.depth = 2
    e.open_loop("for x in (x,):", many=False)
    flow(e, steps, 0, "x")
    e.close_loop()
    e.line("return; yield")
    return link(e, steps, "x, run", kind="async def")


def batch(options: Options) -> int:
    return min(LOOK, options.chunk)


def looks(e: Emitter) -> int:
    """How often a task looks at the clock until it has had its items."""
    return max(1, e.options.chunk // batch(e.options))


def quiet(seg: Segment) -> bool:
    """True if nothing in the segment waits but for room below."""
    fan = seg.fan.node.functions if seg.fan is not None else ()
    return not any(rests(s) for s in seg.steps) and not any(is_async(fn) for fn in fan)


def from_iterator(e: Emitter, seg: Segment, steps: Steps) -> None:
    """A synchronous source is pulled in this very task, a slice at a time."""
    e.indent("while True:")
    e.line("x = END")
    e.open_loop(f"for x in islice(source, {batch(e.options)}):", many=False)
    if len(seg.runs) > 1:
        e.line("if x is WAIT: break")
    meets(e, seg.index)
    entered(e, seg)
    e.loops[-1].stops.append("signal")
    flow(e, steps, 0, "x")
    e.close_loop()
    if quiet(seg) and seg.outs:
        e.line("outs.wake()")
    rest(e, "x is END")
    e.dedent()


def pours(seg: Segment, outs: Sequence[Gate], options: Options) -> bool:
    """True if the segment does nothing but fill one gate, whole."""
    whole = seg.fan is None or isinstance(seg.fan.node, combine.Broadcast | units.Share)
    return seg.fed == "iter" and not seg.steps and type(options) is Options and not options.events and whole \
        and len(outs) == 1 and outs[0].overflow == "block"


def poured(e: Emitter, seg: Segment, steps: Steps) -> None:
    """A source that only feeds a gate is poured into it in C, as much at a time as there is room."""
    e.line("gate = outs.gates[0]")
    e.line("items, size = gate.items, gate.size")
    e.line(f"slice = {min(256, e.options.chunk)} if type(source) in HINTED else {batch(e.options)}")
    e.indent("while True:")
    e.indent("if signal:")
    e.line("if await run.hold(control): break")
    e.line("continue")
    e.dedent()
    e.line("before = len(items)")
    e.indent("if before >= size:")
    e.line("if not await gate.room(): break")
    e.line(f"looks, until = {looks(e)}, now() + {SLICE}")  # others have just run
    e.line("continue")
    e.dedent()
    e.line("most = size - before")
    e.line("if most > slice: most = slice")
    e.line("items.extend(islice(source, most))")
    e.line("if gate.reader is not None and items: gate.wake()")
    e.line("if len(items) - before < most: break")
    look(e)
    e.dedent()


def from_async(e: Emitter, seg: Segment, steps: Steps) -> None:
    e.line("count = 0")
    e.indent("while True:")
    e.open_loop("async for x in source:", many=False)
    meets(e, seg.index)
    entered(e, seg)
    e.loops[-1].stops.append("signal")
    e.line("count += 1")
    e.indent(f"if not count % {batch(e.options)}:")
    look(e)
    e.dedent()
    flow(e, steps, 0, "x")
    e.close_loop()
    rest(e, "True", looks=False, hot=getattr(seg.head and seg.head.node, "kind", "") in ("observable", "publisher"))
    e.dedent()


def from_lane(e: Emitter, seg: Segment, steps: Steps) -> None:
    e.line("pop = lane.items.popleft")
    e.indent("while True:")
    unseen = quiet(seg) and not seg.outs and not e.options.events
    if unseen:
        e.line("batch = len(lane.items)")
        e.line(f"if batch > {batch(e.options)}: batch = {batch(e.options)}")
        e.line("lane.taken += batch")
        e.line("lane.current = left = repeat((), batch)")
    e.open_loop("for x in starmap(pop, left):" if unseen else f"for x in lane.drain({batch(e.options)}):", many=False)
    meets(e, seg.index)
    if e.options.events:
        e.line("i, x = x")
    flow(e, steps, 0, "x")
    e.close_loop()
    if unseen:
        e.line("if lane.writer is not None: lane.release()")
    stops(e)
    e.indent("if lane.items:")
    look(e)
    e.dedent()
    e.line("elif await lane.wait(): break")
    e.dedent()


def entered(e: Emitter, seg: Segment) -> None:
    """An item comes into the run: it gets its id, (source, partition, offset)."""
    entry = f"i = run.enter({(seg.head.label if seg.head else '')!r})"
    e.enter(entry if len(seg.runs) == 1 else "i, x = x")


def look(e: Emitter) -> None:
    """Rest after 256 items or 5 ms, whichever is first (ruling 26)."""
    e.line("looks -= 1")
    e.indent("if not looks or now() > until:")
    e.line("await checkpoint()")
    e.line(f"looks, until = {looks(e)}, now() + {SLICE}")
    e.dedent()


def stops(e: Emitter) -> None:
    flags = sorted(set(e.flags.values()))
    if flags:
        e.line(f"if {' or '.join(flags)}: break")


def rest(e: Emitter, ended: str, *, looks: bool = True, hot: bool = False) -> None:
    """Between two slices: leave if done, hold while paused, let others run if it is time."""
    stops(e)
    e.indent("if signal:")
    if hot or e.saves:
        e.line("if await run.hold(control): control(False)")  # the source ends when it is read empty, or saved
    else:
        e.line("if await run.hold(control): break")
    e.line("continue")
    e.dedent()
    e.line(f"if {ended}: break")
    if looks:
        look(e)


# -- tails ---------------------------------------------------------------------------------------


def put(e: Emitter, seg: Segment, outs: Sequence[Gate], x: str) -> None:
    """Hand ``x`` to the gate, or to the gates that the fan-out chooses."""
    if not outs:
        return
    e.step, e.number = seg.fan, len(seg.runs[-1])
    late = seg.fed == "iter" and quiet(seg)  # nobody can run before the slice is done, so it is told then
    node = seg.fan.node if seg.fan else None
    match node:
        case combine.Partition():
            e.indent(f"if {e.call(node.fn, x)}:")
            into(e, 0, outs[0].overflow, x, late=late)
            e.dedent()
            e.indent("else:")
            into(e, 1, outs[1].overflow, x, late=late)
            e.dedent()
        case loops.Loop():
            done = e.value("done")
            e.line(f"{done} = {e.call(node.until, x)}")
            e.line("outs.turned()")
            e.indent(f"if {done}:")
            into(e, 0, outs[0].overflow, x)
            e.dedent()
            e.indent("else:")
            into(e, 1, outs[1].overflow, x)
            e.dedent()
        case combine.Branch() | sides.Balance():
            if isinstance(node, sides.Balance):
                e.line("way = await outs.roomy()")
            else:
                ways = e.param("ways", {key: i for i, key in enumerate(node.keys)})
                where = e.param("where", seg.fan.where if seg.fan else "")
                e.line(f"way = way_of({ways}, {e.call(node.key, x) if node.key else x}, {where})")
            for i, gate in enumerate(outs):
                e.indent(f"{'if' if i == 0 else 'elif'} way == {i}:")
                into(e, i, gate.overflow, x, late=late)
                e.dedent()
        case _:
            reads = seg.fed in ("iter", "aiter", "push")  # what another gate holds is counted there
            if isinstance(node, units.Share) and node.replay is not None:
                e.line(f"await outs.give({kept(e, x)}, {reads})")
                outs = ()
            if len(outs) > 1:
                e.fate("split")
            for i, gate in enumerate(outs):
                into(e, i, gate.overflow, x, child=len(outs) > 1, late=late, roomy=reads)
            for i, gate in enumerate(outs):
                if reads and gate.overflow == "block":  # a source is read only while there is room
                    e.line(f"if len(items{i}_{e.number}) >= size{i}_{e.number}: await gate{i}_{e.number}.room()")
                elif reads and isinstance(gate.overflow, Measured) and holds(gate.overflow):
                    e.line(f"await gate{i}_{e.number}.room()")
    if e.loops:
        e.stop("outs.over")


def into(e: Emitter, i: int, overflow: Policy, x: str, *, child: bool = False, late: bool = False,
         roomy: bool = False) -> None:
    """One gate, ``roomy`` if it is never full here.  Only a full one costs an await; a gate that its reader has
    left swallows."""
    if e.options.events:
        x = f"({f'run.child({e.ident}, {i})' if child else e.ident}, {x})"
    gate = e.state(f"gate{i}", f"outs.gates[{i}]")
    if overflow != "block":
        e.line(f"await {gate}.put({x})" if holds(overflow) else f"{gate}.offer({x})")
        return
    items = e.state(f"items{i}", f"outs.gates[{i}].items")
    size = e.state(f"size{i}", f"outs.gates[{i}].size")
    if not roomy:
        e.indent(f"if len({items}) < {size} or await {gate}.room():")
    e.line(f"{items}.append({x})")
    if not late:
        e.line(f"if {gate}.reader is not None: {gate}.wake()")
    if not roomy:
        e.dedent()

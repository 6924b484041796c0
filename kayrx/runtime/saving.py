"""Saving: one consistent state of a whole run, caught while items are under way.

    the checkpoint asks     every source gives a barrier between two items, and notes its place
    a segment meets it      what its nodes hold is written as text there, and the barrier goes on through its gates
    a join meets it         it waits for the barrier of its other lanes; a crew waits for its calls
    all segments have met   the whole is saved in one transaction, and only then it counts

So what is saved is the effect of exactly the items before the barriers.  A segment that has ended by then
is saved as over, and does not begin again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from zlib import crc32

from kayrx.door import floor
from kayrx.errors import RunError
from kayrx.graph.node import Node, Opens
from kayrx.nodes.checkpoint import Checkpoint
from kayrx.nodes.ends import SinkTo, ToList
from kayrx.plan.keeping import Barrier, checkpoint_of, kept_as, packed, stateful_steps, unpacked
from kayrx.plan.plan import Segment, Step
from kayrx.runtime.guards.chain import now
from kayrx.runtime.places.threaded import do
from kayrx.runtime.sources.seeking import Mark

if TYPE_CHECKING:
    from kayrx.runtime.context import Context
    from kayrx.runtime.gates.gate import Fan

VERSION = 1
READER = -1  # stands among the segments for the reader of ``stream()``
Held = Callable[[], dict[str, dict[str, Any]]]


@dataclass(slots=True)
class Pending:
    """A checkpoint that some segments have not met yet."""

    left: set[int]
    states: dict[str, str] = field(default_factory=dict)
    sources: dict[str, list[Any]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    over: dict[int, str] = field(default_factory=dict)


def names_of(segment: Segment) -> list[str]:
    """The nodes of a segment by name."""
    return [step.label for step in ((segment.head,) if segment.head else ()) + segment.steps]


class Saver:
    """The checkpoints of one run."""

    def __init__(self, run: Context, resume: bool) -> None:
        step = checkpoint_of(run.program.plan)
        assert step is not None and isinstance(step.node, Checkpoint)
        self.run, self.resume, self.step, self.name, self.what = run, resume, step, step.label, step.node.store
        self.segments = run.program.plan.segments
        self.sources = {id(s.head.node): s.head.label for s in self.segments
                        if s.head is not None and s.head.node.role == "source"}
        self.nodes = {name: kept_as(s.node) for name, s in stateful_steps(run.program.plan).items()}
        self.marks = {id(s.head.node): Mark(s.head.node) for s in self.segments
                      if s.head is not None and id(s.head.node) in self.sources}
        self.asked = False                             # a barrier is wanted of some source
        self.told = dict.fromkeys(self.sources, 0)     # the barrier that a source has given last
        self.ahead: dict[int, tuple[Any, Any]] = {}    # the item on its way from a source that waits, and its place
        self.finished: set[int] = set()
        self.wanted = self.saved = 0
        self.pending: dict[int, Pending] = {}
        self.over: dict[int, str] = {}                 # the results of segments that have ended
        self.kept: dict[str, Any] = {}
        self.kept_over: dict[str, str] = {}

    # -- beginning -------------------------------------------------------------------------------

    async def open(self) -> None:
        """Load what is to be put back, or forget what another run has saved."""
        self.store = self.run.opened[self.what] if isinstance(self.what, Opens) else self.what
        made = getattr(self.store, "made", self.store)
        self.codec = getattr(made, "codec", None) or floor("codecs").json_codec
        if not self.resume:
            await do(self.store, lambda store: store.clear(self.name))
            return
        text = await do(self.store, lambda store: store.load(self.name))
        if text is not None:
            self.put_back(unsealed(text, self.step.where))

    def put_back(self, saved: dict[str, Any]) -> None:
        """The states that the code will ask for, the places of the sources, the numbers of ids."""
        self.check_fits(saved)
        self.kept = {name: self.read(text, name) for name, text in saved["states"].items()}
        self.kept_over = saved["over"]
        self.run.ledger.counts.update(saved["counts"])
        self.wanted = self.saved = saved["number"]
        for key, label in self.sources.items():
            if label in saved["sources"]:
                cursor, given = saved["sources"][label]
                self.run.cursors[key] = place = self.read(cursor, label)
                self.run.ledger.counts[label] = given
                self.marks[key].begin(place, given)
            self.told[key] = self.wanted

    def check_fits(self, saved: dict[str, Any]) -> None:
        """Raise RunError, naming the node, where graph and checkpoint do not fit."""
        mark, begin = f"{self.step.where}: what was saved", "or begin anew with resume=False"
        if saved["exact"] != self.run.ledger.exact:
            raise RunError(f"{mark} comes from a run {'with' if saved['exact'] else 'without'} ids of items; resume "
                           f"with events={saved['exact']}, {begin}")
        for name, word in saved["nodes"].items():
            if name not in self.nodes:
                raise RunError(f"{mark} holds the state of {name!r} ({word}), and no such node is in the graph; name "
                               f"the node so with .named({name.rpartition(' > ')[2]!r}), {begin}")
            if self.nodes[name] != word:
                raise RunError(f"{mark} holds the state of {name!r} as of a {word}, and it is a {self.nodes[name]} "
                               f"now; give the new node another name, {begin}")
        for name, word in self.nodes.items():
            if name not in saved["nodes"]:
                raise RunError(f"{mark} holds no state of {name!r} ({word}): the node is new, or had another name; "
                               f"name it as it was with .named(), {begin}")
        for label in sorted({*self.sources.values()} ^ {*saved["places"]}):
            raise RunError(f"{mark} and the graph differ in the source {label!r}; name the source as it was with "
                           f".named(), {begin}")
        for names in {*saved["over"]} - {json.dumps(names_of(s)) for s in self.segments}:
            raise RunError(f"{mark} says that {', '.join(json.loads(names))} had ended, and these do not stand "
                           f"together any more; write them as they were, {begin}")

    def read(self, text: str, name: str) -> Any:
        try:
            return self.codec.decode(text)
        except Exception as error:
            error.add_note(f"kayrx: {self.step.where} cannot read what was saved of {name!r}; open the store with the "
                           "codec that it was written with")
            raise

    def written(self, value: Any, name: str) -> str:
        try:
            return self.codec.encode(value)  # type: ignore[no-any-return]
        except Exception as error:
            raise RunError(f"{self.step.where} cannot write the state of {name!r} with the codec {self.codec.name!r} "
                           f"({error}); keep plain values in it, or give the store codec=kx.pickle_codec") from error

    # -- sources ---------------------------------------------------------------------------------

    def position(self, head: Step) -> Callable[[], int]:
        """The ordinal of the item that a source gave last."""
        mark = self.marks[id(head.node)]
        return lambda: mark.given - (not mark.hand)

    def ask(self) -> None:
        """It is time: unless a checkpoint is under way, the sources give a barrier next."""
        if not self.pending and self.saved == self.wanted:
            self.wanted += 1
            self.asked = True

    def reached(self, node: Node) -> None:
        """The item on its way has gone it: a retry or a resume begins behind it."""
        mark = self.marks[id(node)]
        mark.reached(*self.ahead.pop(id(node)))
        self.run.cursors[id(node)] = mark.place

    def wants(self, node: Node) -> bool:
        return self.told[id(node)] < self.wanted

    def finals(self, node: Node) -> Iterator[Barrier]:
        """A source has ended, or is stopped: its end is worth a checkpoint."""
        if id(node) in self.ahead:
            self.reached(node)
        if id(node) not in self.finished:
            self.finished.add(id(node))
            self.wanted += not self.wants(node)
            self.asked = True
        while self.wants(node):
            yield self.barrier(node)

    def barrier(self, node: Node) -> Barrier:
        """The barrier that a source owes; its place goes into the checkpoint."""
        number = self.told[id(node)] = self.told[id(node)] + 1
        label = self.sources[id(node)]
        self.asked = any(told < self.wanted for told in self.told.values())
        mark = self.marks[id(node)]
        self.begun(number).sources[label] = [self.written(mark.place, label), mark.given]
        return Barrier(number)

    def begun(self, number: int) -> Pending:
        if number not in self.pending:
            running = {s.index for s in self.segments} - {*self.over}
            if any(gate.target is None for gate in self.run.program.plan.gates):
                running.add(READER)
            self.pending[number] = Pending(running, over=dict(self.over))
        return self.pending[number]

    # -- segments --------------------------------------------------------------------------------

    def keep(self, barrier: Barrier, step: Step, value: Any) -> None:
        """What a stage holds when a barrier comes."""
        self.pending[barrier.number].states[step.label] = self.written({"held": packed(value)}, step.label)

    def brought(self, step: Step, value: Any) -> Any:
        """What a stage begins with: what was kept, else ``value``."""
        kept = self.kept.get(step.label)
        return value if kept is None else unpacked(value, kept["held"])

    def part(self, barrier: Barrier, held: Held) -> None:
        """What some steps of a segment hold."""
        pending = self.pending[barrier.number]
        for name, state in held().items():
            pending.states[name] = self.written(state, name)

    async def at(self, index: int, barrier: Barrier, held: Held, outs: Fan | None) -> None:
        """A segment meets a barrier, which goes on to those below; the last one to meet it saves the whole."""
        self.part(barrier, held)
        segment, counts = self.segments[index], self.run.ledger.counts
        self.pending[barrier.number].counts |= {name: counts[name] for name in names_of(segment) if name in counts}
        if segment.fed == "gate" and self.run.gates[segment.lanes[0]].current is not None:
            self.run.gates[segment.lanes[0]].taken -= 1  # it is no item
        for gate in outs.gates if outs is not None else ():
            await gate.put(barrier)
            if segment.fed in ("iter", "aiter"):  # a source is read only while there is room
                await gate.room()
        self.flush(segment)
        await self.met(index, barrier.number)

    def flush(self, segment: Segment) -> None:
        """What a sink has taken leaves this process before it counts as sent."""
        node = segment.sink.node if segment.sink is not None else None
        if isinstance(node, SinkTo):
            target = self.run.opened[node.target] if isinstance(node.target, Opens) else node.target
            getattr(target, "flush", lambda: None)()

    def at_now(self, index: int, barrier: Barrier, held: Held) -> None:
        """`at` in a plan of one function."""
        now(self.at(index, barrier, held, None))

    async def met(self, index: int, number: int) -> None:
        pending = self.pending[number]
        pending.left.discard(index)
        if not pending.left:
            del self.pending[number]
            text = self.text(number, pending)
            await do(self.store, lambda store: store.save(self.name, text))
            self.saved = number
            self.run.tell("checkpoint", node=self.name, number=number)

    def text(self, number: int, pending: Pending) -> str:
        """A checkpoint as one line with a check sum."""
        over = {json.dumps(names): result for i, result in pending.over.items()
                if (names := names_of(self.segments[i]))}
        places = [*self.sources.values()]
        return sealed(json.dumps({
            "version": VERSION, "number": number, "exact": self.run.ledger.exact, "nodes": self.nodes,
            "places": places, "sources": pending.sources, "counts": pending.counts, "states": pending.states,
            "over": over}, separators=(",", ":")))

    # -- segments that have ended ----------------------------------------------------------------

    def is_over(self, segment: Segment) -> bool:
        """True if the segment had ended when the checkpoint was made: it does not begin again."""
        return json.dumps(names_of(segment)) in self.kept_over

    def result(self, segment: Segment) -> Any:
        """What the sink of a segment that is over has given."""
        node = segment.sink.node if segment.sink is not None else None
        if isinstance(node, ToList):
            return self.read(self.kept_over[json.dumps(names_of(segment))], segment.steps[-1].label)
        return node.target if isinstance(node, SinkTo) and node.method else None

    async def ended(self, segment: Segment, result: Any) -> None:
        """A segment has ended: a checkpoint waits for it no more, and later ones save it as over."""
        sink = segment.sink
        told = self.written(result, sink.label) if sink is not None and isinstance(sink.node, ToList) else ""
        self.over[segment.index] = told
        for number, pending in list(self.pending.items()):
            if segment.index in pending.left:
                pending.over[segment.index] = told
                await self.met(segment.index, number)


def sealed(text: str) -> str:
    return f"{crc32(text.encode()):08x} {text}"


def unsealed(text: str, where: str) -> dict[str, Any]:
    """What was sealed; RunError if it is not whole, or was written by a newer kayrx."""
    found: dict[str, Any] = json.loads(text[9:]) if sealed(text[9:]) == text else {"version": 0}
    if found["version"] != VERSION:
        raise RunError(f"{where}: what was saved is damaged, or was written by another version of kayrx; begin anew "
                       "with resume=False")
    return found

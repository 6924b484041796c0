"""The ledger: which items are in a run, and what became of each.

An id is a position, (source, partition, offset, child ...); an item made of others has the id (node,
0, number) and lists its parents.  Ids exist only in a run that was asked for events, or whose letters
need them; such a run carries them beside its items, and each item ends exactly once (law 6).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Id = tuple[Any, ...]


class Dated(tuple[Any, ...]):
    """An id that also knows ``until`` when what is done for its item has to be done."""

    until: float


def dated(ident: Id, until: float) -> Id:
    made = Dated(ident)
    made.until = until
    return made


class Ledger:
    """What `Run.events` gives; grows with the run.

    Fates: delivered, filtered, absorbed, split, skipped, dead_letter, dropped, failed, cancelled.
    """

    def __init__(self, exact: bool, told: bool) -> None:
        self.exact, self.told = exact, told  # ids are kept; so is what becomes of them
        self.watch: Callable[[Id, str], None] | None = None
        self.log: list[dict[str, Any]] = []
        self.budgets: dict[str, Callable[[], float]] = {}  # by source: until when an item read now has time
        self.alive: dict[Id, None] = {}
        self.counts: dict[str, int] = {}

    def tell(self, what: str, **facts: Any) -> None:
        self.log.append({"event": what, **facts})

    def number(self, name: str) -> int:
        count = self.counts.get(name, 0)
        self.counts[name] = count + 1
        return count

    def begin(self, ident: Id, parents: Sequence[Id] = ()) -> Id:
        if self.told or self.watch is not None:
            self.alive[ident] = None
        if self.told:
            self.log.append({"event": "entered", "id": ident, "parents": tuple(parents)})
        return ident

    # -- what generated code calls ---------------------------------------------------------------

    def enter(self, source: str) -> Id:
        """An item has been read from a source."""
        ident: Id = (source, 0, self.number(source))
        return self.begin(dated(ident, self.budgets[source]()) if source in self.budgets else ident)

    def made(self, node: str, parents: Sequence[Id]) -> Id:
        """A node has made an item of those it had absorbed."""
        ident: Id = (node, 0, self.number(node))
        untils = [parent.until for parent in parents if isinstance(parent, Dated)] if self.budgets else ()
        return self.begin(dated(ident, min(untils)) if untils else ident, parents)

    def child(self, parent: Id, number: int) -> Id:
        """An item that was split has given its child ``number``."""
        ident = (*parent, number)
        return self.begin(dated(ident, parent.until) if isinstance(parent, Dated) else ident, (parent,))

    def fate(self, ident: Id, what: str, node: str | None) -> None:
        """An item has ended; what has ended already cannot end again."""
        if ident in self.alive:
            del self.alive[ident]
            if self.told:
                self.log.append({"event": what, "id": ident, "node": node})
            if self.watch is not None:
                self.watch(ident, what)

    def close(self, failure: BaseException | None) -> None:
        """The run has ended: the item in hand at the failure has failed, all others are cancelled."""
        if failure is not None:
            self.failed(failure)
        for ident in list(self.alive):
            self.fate(ident, "cancelled", None)

    def failed(self, failure: BaseException) -> None:
        """The item in hand at the failure has failed: the frames of generated code know its id."""
        trace = failure.__traceback__ if self.exact else None
        while trace is not None:
            if trace.tb_frame.f_code.co_filename.startswith("<kayrx "):
                held = [v for k, v in trace.tb_frame.f_locals.items() if k[:1] == "i" and isinstance(v, tuple)]
                for ident in held[-1:]:
                    self.fate(ident, "failed", None)
            trace = trace.tb_next

    # -- for stages, crews and gates, which see (id, item) pairs in such a run -----------------------

    def lost(self, pair: Any, what: str, node: str) -> None:
        """A node or policy has let go of an item."""
        if self.exact:
            self.fate(pair[0], what, node)

    def value(self, pair: Any) -> Any:
        return pair[1] if self.exact else pair

    def joined(self, pairs: Sequence[Any], node: str, make: Any = tuple) -> Any:
        """Several items as one: ``make`` of their values, under a new id where ids are kept."""
        if not self.exact:
            return make(pairs)
        for ident, _ in pairs:
            self.fate(ident, "absorbed", node)
        return self.made(node, [ident for ident, _ in pairs]), make([value for _, value in pairs])

    def fresh(self, item: Any, node: str) -> Any:
        """An item of which nobody knows the parents, as out of an Rx operator."""
        return (self.made(node, ()), item) if self.exact else item

"""Groups at work: the body of a `group_by` or `window`, copied for each key, and resumed item by item."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from kayrx.nodes.groups import GroupBy
from kayrx.nodes.values import EMPTY
from kayrx.plan.keeping import Errand
from kayrx.plan.plan import Step
from kayrx.plan.shapes import WAIT

if TYPE_CHECKING:
    from kayrx.runtime.context import Context

Given = tuple[Any, list[Any]]


class Inbox:
    """What a copy of the body reads: the item that has come, WAIT while there is none, the end."""

    __slots__ = ("item", "over")

    def __init__(self) -> None:
        self.item: Any = EMPTY
        self.over = False

    def __iter__(self) -> Inbox:
        return self

    def __next__(self) -> Any:
        if self.item is EMPTY:
            if self.over:
                raise StopIteration
            return WAIT
        item, self.item = self.item, EMPTY
        return item


class Group:
    """One copy of the body; ``ids`` are those of its items since it last gave something, where ids are kept."""

    __slots__ = ("body", "ids", "inbox", "number")

    def __init__(self, number: int, inbox: Inbox, body: Any) -> None:
        self.number, self.inbox, self.body = number, inbox, body
        self.ids: list[Any] = []

    def given(self) -> Iterator[Given]:
        """What comes out until the body asks for its next item; nothing is made ahead of demand."""
        for value in self.body:
            if value is WAIT:
                return
            ids, self.ids = self.ids, []
            yield value, ids

    def finished(self) -> Iterator[Given]:
        self.inbox.over = True
        return self.given()

    async def given_later(self) -> AsyncGenerator[Given, None]:
        async for value in self.body:
            if value is WAIT:
                return
            ids, self.ids = self.ids, []
            yield value, ids

    def finished_later(self) -> AsyncGenerator[Given, None]:
        self.inbox.over = True
        return self.given_later()


class Groups:
    """The groups of one node in one run."""

    def __init__(self, step: Step, run: Context, waits: bool) -> None:
        self.codes, self.run = run.program.body(step, waits), run
        if waits:
            run.closers.append(self.close)
        self.most = step.node.max_groups if isinstance(step.node, GroupBy) else 1
        self.groups: OrderedDict[Any, Group] = OrderedDict()  # the longest unused first
        self.number = 0

    def push(self, key: Any, item: Any, ident: Any, last: bool = False) -> Generator[Given, None, None]:
        """What an item gives in the group of its key; ``last`` completes it, and EMPTY alone completes all."""
        if item is EMPTY:
            while self.groups:
                yield from self.groups.popitem(False)[1].finished()
            return
        if key not in self.groups and len(self.groups) >= self.most:
            yield from self.groups.popitem(False)[1].finished()
        yield from self._taken(key, item, ident).given()
        if last:
            yield from self.groups.pop(key).finished()

    async def push_later(self, key: Any, item: Any, ident: Any, last: bool = False) -> AsyncGenerator[Given, None]:
        """`push`, where the body waits."""
        if item is EMPTY:
            async with aclosing(self.rest_later()) as given:
                async for pair in given:
                    yield pair
            return
        if key not in self.groups and len(self.groups) >= self.most:
            async with aclosing(self._ended(next(iter(self.groups)))) as given:
                async for pair in given:
                    yield pair
        async with aclosing(self._taken(key, item, ident).given_later()) as given:
            async for pair in given:
                yield pair
        if last:
            async with aclosing(self._ended(key)) as given:
                async for pair in given:
                    yield pair

    def _taken(self, key: Any, item: Any, ident: Any) -> Group:
        """The group of the key, with the item in its inbox."""
        group = self.groups.get(key)
        if group is None:
            group = self.groups[key] = self._opened()
        elif self.most > 1:
            self.groups.move_to_end(key)
        group.inbox.item = item
        if ident is not None:
            group.ids.append(ident)
            if self.run.replay is not None:
                self.run.replay.grouped = ident
        return group

    def rest(self) -> Iterator[Given]:
        """What the groups that are open still give, in the order in which they began."""
        for group in sorted(self.groups.values(), key=lambda group: group.number):
            yield from group.finished()

    async def rest_later(self) -> AsyncGenerator[Given, None]:
        for key in sorted(self.groups, key=lambda key: self.groups[key].number):
            async with aclosing(self._ended(key)) as given:
                async for pair in given:
                    yield pair

    async def _ended(self, key: Any) -> AsyncGenerator[Given, None]:
        """What a group still gives, which is then forgotten."""
        async with aclosing(self.groups[key].finished_later()) as given:
            async for pair in given:
                yield pair
        del self.groups[key]

    async def close(self) -> None:
        """Close the bodies of a run that ends before its stream."""
        for group in self.groups.values():
            await group.body.aclose()

    # -- what a checkpoint saves ------------------------------------------------------------------

    def saved(self) -> Any:
        """The groups in order, each with what its body holds."""
        return self.number, [(key, g.number, g.ids, self._sent(g, Errand()).fetched) for key, g in self.groups.items()]

    def restore(self, saved: Any) -> None:
        number, groups = saved
        for key, _, ids, held in groups:
            self.groups[key] = group = self._opened()
            self._sent(group, Errand([*held]))
            group.ids = [*ids]
        for (_, place, _, _), group in zip(groups, self.groups.values(), strict=True):
            group.number = place
        self.number = number

    def _sent(self, group: Group, errand: Errand) -> Errand:
        """The errand goes through the body, which rests between two items."""
        group.inbox.item = errand
        return next(group.body)  # type: ignore[no-any-return]

    def _opened(self) -> Group:
        inbox = Inbox()
        items: Any = inbox
        for code in self.codes:
            items = code.function(items, self.run)
        self.number += 1
        return Group(self.number, inbox, items)

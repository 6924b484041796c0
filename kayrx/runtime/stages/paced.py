"""The stage that paces: a token bucket a key."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from typing import Any

from kayrx.errors import RunError
from kayrx.nodes import flow
from kayrx.plan.keeping import Barrier
from kayrx.plan.plan import Step
from kayrx.plan.units import called
from kayrx.runtime.context import Context
from kayrx.runtime.gates.gate import Gate
from kayrx.runtime.stages.base import Emit, any_of, pop, stage


class Buckets:
    """The buckets and what waits for them.

    A bucket is one number, the moment at which it will be full again (the generic cell rate algorithm);
    a bucket that is full is as good as none and may be forgotten.
    """

    def __init__(self, node: flow.RateLimit) -> None:
        self.size, self.keys = node.size, node.keys
        self.spacing = node.per / node.count
        self.slack = node.burst * self.spacing
        self.full_at: dict[Any, float] = {}
        self.waiting: dict[Any, deque[tuple[int, float, Any]]] = {}
        self.heads: list[tuple[float, int, Any]] = []  # when the first of each key may pass
        self.held = self.number = 0

    def room_at(self, key: Any, now: float) -> float:
        """When an item of this key may come in, as far as its bucket is concerned."""
        if key in self.full_at or len(self.full_at) < self.keys:
            return now
        for known in [k for k, at in self.full_at.items() if at <= now and k not in self.waiting]:
            del self.full_at[known]
        if len(self.full_at) < self.keys:
            return now
        return min((at for k, at in self.full_at.items() if k not in self.waiting), default=float("inf"))

    def add(self, key: Any, tokens: float, item: Any, now: float) -> None:
        self.number += 1
        self.held += 1
        if key not in self.waiting:
            self.full_at[key] = max(self.full_at.get(key, now), now)  # a bucket is never more than full
        line = self.waiting.setdefault(key, deque())
        line.append((self.number, tokens * self.spacing, item))
        if len(line) == 1:
            self.next_of(key)

    def next_of(self, key: Any) -> None:
        number, takes, _ = self.waiting[key][0]
        heapq.heappush(self.heads, (self.full_at[key] + takes - self.slack, number, key))

    @property
    def due(self) -> float | None:
        return self.heads[0][0] if self.heads else None

    @property
    def first(self) -> Any:
        return self.waiting[self.heads[0][2]][0][2]

    def passed(self, now: float) -> None:
        """The first has been sent on."""
        _, _, key = heapq.heappop(self.heads)
        _, takes, _ = self.waiting[key].popleft()
        self.held -= 1
        begun = now - max(0.0, takes - self.slack)  # what costs more than a full bucket was saved up for
        self.full_at[key] = max(self.full_at[key], begun) + takes
        if self.waiting[key]:
            self.next_of(key)
        else:
            del self.waiting[key]


@stage.register(flow.RateLimit)
async def _(node: flow.RateLimit, run: Context, step: Step, lanes: Sequence[Gate], emit: Emit) -> None:
    (lane,), buckets = lanes, Buckets(node)
    asked: tuple[Any, float] | None = None  # key and cost of the item that comes next
    while True:
        now = run.backend.now()
        if buckets.due is not None and buckets.due <= now:
            if await emit(buckets.first):
                return
            buckets.passed(run.backend.now())
            if run.due():
                await run.rest()
            continue
        wake = buckets.due
        if lane.items and type(lane.items[0]) is Barrier:
            if not buckets.held:
                await emit(pop(lane))
                lane.taken -= 1  # it is no item
                continue
        elif lane.items and buckets.held < buckets.size:
            value = run.ledger.value(lane.items[0])
            if asked is None:
                key = await called(step.where, node.key, value) if node.key else None
                asked = key, await price(node, step, value)
            room = buckets.room_at(asked[0], now)
            if room <= now:
                buckets.add(*asked, pop(lane), now)
                asked = None
                continue
            wake = room if wake is None else min(wake, room)
        elif lane.closed and not lane.items and not buckets.held:
            return
        await any_of(run, () if lane.items or lane.closed else lanes, wake)


async def price(node: flow.RateLimit, step: Step, value: Any) -> float:
    """How many tokens an item takes."""
    if node.cost is None:
        return 1
    tokens = await called(step.where, node.cost, value)
    if not isinstance(tokens, int | float) or not 0 <= tokens < float("inf"):
        raise RunError(f"{step.where}: cost gave {tokens!r}; a cost is a number >= 0")
    return tokens

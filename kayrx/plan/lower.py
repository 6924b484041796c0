"""lower: the Rx operator of a node that has no generated form; the one module of the plan that knows reactivex.

Nodes with a form are hosted, fused, in one Observable operator (`kayrx.runtime.rx.observable`).  Each
row says what the operator may release at once and hold.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, singledispatch
from typing import Any

import reactivex
from reactivex import Observable, abc, operators as ops
from reactivex.notification import OnCompleted
from reactivex.scheduler import CurrentThreadScheduler

from kayrx.errors import CompileError
from kayrx.graph.node import Node
from kayrx.nodes import about, combine, flow, latest, sides, time, transform, units, until, windows

Operator = Callable[[Observable[Any]], Observable[Any]]


@dataclass(frozen=True, slots=True)
class Row:
    """An Rx operator; ``burst`` and ``hold`` are numbers of items, None for any."""

    operator: Operator
    burst: int | None = 1
    hold: int | None = 1


@singledispatch
def lower(node: Node) -> Row:
    """The Rx meaning of a node.  Raises CompileError, naming the node, where there is none."""
    raise CompileError(f"no Rx operator for {node.where}: add one with @lower.register, or write the node as a "
                       "function that returns a Graph of known nodes")


@lower.register
def _(node: transform.Rx) -> Row:
    return Row(node.over, node.max_burst, None)


def told(notification: Any) -> Any:
    """A notification of reactivex as one of ours, which is a frozen value."""
    match notification.kind:
        case "N":
            return about.OnNext(notification.value)
        case "E":
            return about.OnError(notification.exception)
    return about.OnCompleted()


@lower.register
def _(node: about.Materialize) -> Row:
    return Row(lambda source: source.pipe(ops.materialize(), ops.map(told)))


@lower.register
def _(node: time.Debounce) -> Row:
    return Row(ops.debounce(node.seconds))


@lower.register
def _(node: time.ThrottleFirst) -> Row:
    return Row(ops.throttle_first(node.seconds), hold=0)


@lower.register
def _(node: time.Sample) -> Row:
    return Row(ops.sample(node.seconds))


@lower.register
def _(node: time.Delay) -> Row:
    return Row(ops.delay(node.seconds), burst=None, hold=None)


@lower.register
def _(node: windows.Buffer) -> Row:
    if node.count is None:
        return Row(ops.buffer_with_time(node.seconds or 0), hold=None)
    return Row(ops.buffer_with_time_or_count(node.seconds or 0, node.count), hold=node.count)


@lower.register
def _(node: flow.Backpressure) -> Row:
    return Row(lambda source: source, burst=1, hold=0)  # an Observable cannot be made to wait


@lower.register
def _(node: units.Share) -> Row:
    return Row(lambda source: source, hold=0)  # with several uses a graph is no operator but a run


def later(main: Observable[Any]) -> Observable[Any]:
    """``main``, subscribed to when what was subscribed to before it has given what it gives at once."""
    def subscribe(observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        return CurrentThreadScheduler.singleton().schedule(lambda *_: main.subscribe(observer, scheduler=scheduler))

    return Observable(subscribe)


def with_latest_from(main: Observable[Any], *others: Observable[Any]) -> Observable[Any]:
    return reactivex.with_latest_from(later(main), *others)


def take_until(main: Observable[Any], other: Observable[Any]) -> Observable[Any]:
    """As `ops.take_until`, but ``other`` is subscribed to first, so at one instant it goes first."""
    over: Observable[Any] = other.pipe(ops.take(1), ops.map(lambda _: OnCompleted()))
    return reactivex.merge(over, later(main).pipe(ops.materialize())).pipe(ops.dematerialize())


def skip_until(main: Observable[Any], other: Observable[Any]) -> Observable[Any]:
    """As `ops.skip_until`, but ``other`` goes first, and the end of ``main`` is the end."""
    return with_latest_from(main, other.pipe(ops.take(1))).pipe(ops.map(operator.itemgetter(0)))


def buffer_until(main: Observable[Any], until: Observable[Any]) -> Observable[Any]:
    """As `ops.buffer`, but no list is empty, and the end of ``until`` is not the end."""
    return main.pipe(ops.buffer(until.pipe(ops.concat(reactivex.never()))), ops.filter(bool))


FAN_IN: dict[type, Callable[..., Observable[Any]]] = {
    combine.Merge: reactivex.merge, combine.Concat: reactivex.concat, combine.Zip: reactivex.zip,
    combine.CombineLatest: reactivex.combine_latest, latest.WithLatestFrom: with_latest_from,
    latest.ZipLatest: reactivex.zip_latest, latest.Race: reactivex.amb,
    latest.MergePrioritized: reactivex.merge,  # where nothing waits, nothing has to be preferred
    until.TakeUntil: take_until, until.SkipUntil: skip_until, until.BufferUntil: buffer_until,
}


def has_operator(node: Node) -> bool:
    """True if the node alone has an Rx meaning; else it needs a task of the running loop."""
    if node.role == "fan_in":
        return type(node) in FAN_IN and getattr(node, "count", None) is None and getattr(node, "seconds", None) is None
    return lower.dispatch(type(node)) is not lower.dispatch(object)


def joined(node: Node, branches: list[Observable[Any]]) -> Observable[Any]:
    """The Rx meaning of a fan-in over Observables."""
    return FAN_IN[type(node)](*branches)


def is_key(key: Callable[[Any], Any], wanted: Any, item: Any) -> bool:
    return bool(key(item) == wanted)


def is_turn(count: int, mine: int, item: Any, number: int) -> bool:
    return number % count == mine


def split(fan: Node, inner: list[Operator], fan_in: Node) -> Operator:
    """The Rx meaning of a fan-out and the fan-in that joins its branches."""
    def ways(shared: Observable[Any]) -> list[Observable[Any]]:
        match fan:
            case combine.Partition():
                return [shared.pipe(ops.filter(fan.fn)), shared.pipe(ops.filter(lambda x: not fan.fn(x)))]
            case combine.Branch():
                key = fan.key or (lambda x: x)
                return [shared.pipe(ops.filter(partial(is_key, key, k))) for k in fan.keys]
            case sides.Balance():  # where nothing waits, all have room: they take turns
                return [shared.pipe(ops.filter_indexed(partial(is_turn, len(inner), k))) for k in range(len(inner))]
        return [shared] * len(inner)

    def mapper(shared: Observable[Any]) -> Observable[Any]:
        return joined(fan_in, [op(way) for op, way in zip(inner, ways(shared), strict=True)])

    # concat subscribes to a later branch when the first has ended: it needs what it missed.
    return ops.replay(mapper=mapper) if isinstance(fan_in, combine.Concat) else ops.publish(mapper)

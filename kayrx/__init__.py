"""kayrx: reactive streams on RxPY and anyio.  Write ``import kayrx as kx``.

Public names are loaded when first used (PEP 562); importing kayrx loads neither reactivex nor anyio.
"""

from __future__ import annotations

from importlib import import_module

from kayrx.door import install

TYPE_CHECKING = False  # typing's own constant would cost a third of the import

install(
    sugar="kayrx.nodes.sugar",
    plan="kayrx.plan.explain",
    warn="kayrx.plan.warn",
    trial="kayrx.runtime.trial",
    draw="kayrx.plan.draw",
    engine="kayrx.runtime.faces",
    callbacks="kayrx.runtime.rx.callbacks",
    place="kayrx.runtime.places.threads",
    processes="kayrx.runtime.places.processes",
    feed="kayrx.runtime.gates.feed",
    groups="kayrx.runtime.groups",
    codecs="kayrx.io.codecs",
    hosted="kayrx.runtime.rx.hosted",
    publisher="kayrx.runtime.streams.publisher",
    replay="kayrx.runtime.letters.replay",
    rx="kayrx.runtime.rx.observable",
    saving="kayrx.runtime.saving",
)

if TYPE_CHECKING:
    from kayrx.errors import (
        AbandonedCall,
        BulkheadFull,
        CallTimeout,
        CircuitOpen,
        CompileError,
        DeadlineExceeded,
        GateDeadlock,
        GateOverflow,
        GraphError,
        KayrxError,
        MissingDependency,
        RunError,
        WorkerDied,
    )
    from kayrx.graph import Graph, Node, Sink, it, resource
    from kayrx.io.checkpoints import memory_checkpoints, sqlite_checkpoints
    from kayrx.io.codecs import Codec, pickle_codec
    from kayrx.io.letters import json_letters, memory_letters, sqlite_letters
    from kayrx.nodes.about import (
        Notification,
        OnCompleted,
        OnError,
        OnNext,
        Timestamp,
        dematerialize,
        materialize,
        timestamp,
        with_index,
    )
    from kayrx.nodes.backoffs import constant, exponential, fibonacci
    from kayrx.nodes.checkpoint import CheckpointStore, checkpoint
    from kayrx.nodes.chunks import chunk
    from kayrx.nodes.combine import (
        branch,
        broadcast,
        combine_latest,
        concat,
        merge,
        partition,
        zip,
    )
    from kayrx.nodes.derived import count, sum
    from kayrx.nodes.ends import each, interval, lines, sink, source, timer, to_list
    from kayrx.nodes.eventtime import Window, window_by
    from kayrx.nodes.feed import queue_source
    from kayrx.nodes.files import tail
    from kayrx.nodes.flow import backpressure, coalesce, conflate, prefetch, rate_limit
    from kayrx.nodes.groups import group_by, window
    from kayrx.nodes.growth import expand
    from kayrx.nodes.guards import dead_letter, retry, skip_errors, timeout
    from kayrx.nodes.instead import catch, fallback, on_error_return
    from kayrx.nodes.interval import join
    from kayrx.nodes.latest import merge_prioritized, race, with_latest_from, zip_latest
    from kayrx.nodes.letters import Letter, LetterStore, Replayed
    from kayrx.nodes.limits import bulkhead, circuit_breaker, deadline, hedge
    from kayrx.nodes.loops import loop
    from kayrx.nodes.place import Failed, Placement, processes, threads
    from kayrx.nodes.position import default_if_empty, element_at, first, last, take_last
    from kayrx.nodes.replay import Replayable
    from kayrx.nodes.retract import Retract, settled
    from kayrx.nodes.select import (
        distinct,
        distinct_until_changed,
        filter,
        ignore_elements,
        skip,
        skip_while,
        take,
        take_while,
    )
    from kayrx.nodes.sides import also_to, balance, divert_to, wire_tap
    from kayrx.nodes.stateful import stateful_map
    from kayrx.nodes.switch import exhaust_map, switch_map
    from kayrx.nodes.time import debounce, delay, keep_alive, sample, throttle_first
    from kayrx.nodes.transform import concat_map, flat_map, map, pairwise, reduce, rx, scan, tap
    from kayrx.nodes.units import share, unit
    from kayrx.nodes.until import pause_when, skip_until, take_until
    from kayrx.nodes.windows import buffer, sliding
    from kayrx.plan.plan import Options
    from kayrx.runtime.run import Run
    from kayrx.runtime.rx.subject import Subject
    from kayrx.runtime.world import World

_HOMES = {
    "kayrx.errors": "AbandonedCall BulkheadFull CallTimeout CircuitOpen CompileError DeadlineExceeded GateDeadlock "
                    "GateOverflow GraphError KayrxError MissingDependency RunError WorkerDied",
    "kayrx.graph": "Graph Node Sink it resource",
    "kayrx.io.checkpoints": "memory_checkpoints sqlite_checkpoints",
    "kayrx.io.codecs": "Codec pickle_codec",
    "kayrx.io.letters": "json_letters memory_letters sqlite_letters",
    "kayrx.nodes.about": "Notification OnCompleted OnError OnNext Timestamp dematerialize materialize timestamp "
                         "with_index",
    "kayrx.nodes.checkpoint": "CheckpointStore checkpoint",
    "kayrx.nodes.backoffs": "constant exponential fibonacci",
    "kayrx.nodes.chunks": "chunk",
    "kayrx.nodes.combine": "branch broadcast combine_latest concat merge partition zip",
    "kayrx.nodes.derived": "count sum",
    "kayrx.nodes.ends": "each interval lines sink source timer to_list",
    "kayrx.nodes.eventtime": "Window window_by",
    "kayrx.nodes.feed": "queue_source",
    "kayrx.nodes.files": "tail",
    "kayrx.nodes.flow": "backpressure coalesce conflate prefetch rate_limit",
    "kayrx.nodes.groups": "group_by window",
    "kayrx.nodes.growth": "expand",
    "kayrx.nodes.guards": "dead_letter retry skip_errors timeout",
    "kayrx.nodes.instead": "catch fallback on_error_return",
    "kayrx.nodes.interval": "join",
    "kayrx.nodes.latest": "merge_prioritized race with_latest_from zip_latest",
    "kayrx.nodes.loops": "loop",
    "kayrx.nodes.letters": "Letter LetterStore Replayed",
    "kayrx.nodes.limits": "bulkhead circuit_breaker deadline hedge",
    "kayrx.nodes.place": "Failed Placement processes threads",
    "kayrx.nodes.position": "default_if_empty element_at first last take_last",
    "kayrx.nodes.replay": "Replayable",
    "kayrx.nodes.retract": "Retract settled",
    "kayrx.nodes.select": "distinct distinct_until_changed filter ignore_elements skip skip_while take take_while",
    "kayrx.nodes.sides": "also_to balance divert_to wire_tap",
    "kayrx.nodes.stateful": "stateful_map",
    "kayrx.nodes.switch": "exhaust_map switch_map",
    "kayrx.nodes.time": "debounce delay keep_alive sample throttle_first",
    "kayrx.nodes.transform": "concat_map flat_map map pairwise reduce rx scan tap",
    "kayrx.nodes.units": "share unit",
    "kayrx.nodes.until": "pause_when skip_until take_until",
    "kayrx.nodes.windows": "buffer sliding",
    "kayrx.plan.plan": "Options",
    "kayrx.runtime.run": "Run",
    "kayrx.runtime.rx.subject": "Subject",
    "kayrx.runtime.world": "World",
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}

__version__ = "0.1.0"
__all__ = [
    "AbandonedCall", "BulkheadFull", "CallTimeout", "CheckpointStore", "CircuitOpen", "Codec", "CompileError",
    "DeadlineExceeded", "Failed", "GateDeadlock", "GateOverflow", "Graph", "GraphError", "KayrxError", "Letter",
    "LetterStore", "MissingDependency", "Node", "Notification", "OnCompleted", "OnError", "OnNext", "Options",
    "Placement", "Replayable", "Replayed", "Retract", "Run", "RunError", "Sink", "Subject", "Timestamp", "Window",
    "WorkerDied", "World", "also_to", "backpressure", "balance", "branch", "broadcast", "buffer", "bulkhead", "catch",
    "checkpoint", "chunk", "circuit_breaker", "coalesce", "combine_latest", "concat", "concat_map", "conflate",
    "constant", "count", "dead_letter", "deadline", "debounce", "default_if_empty", "delay", "dematerialize",
    "distinct", "distinct_until_changed", "divert_to", "each", "element_at", "exhaust_map", "expand", "exponential",
    "fallback", "fibonacci", "filter", "first", "flat_map", "group_by", "hedge", "ignore_elements", "interval", "it",
    "join", "json_letters", "keep_alive", "last", "lines", "loop", "map", "materialize", "memory_checkpoints",
    "memory_letters", "merge", "merge_prioritized", "on_error_return", "pairwise", "partition", "pause_when",
    "pickle_codec", "prefetch", "processes", "queue_source", "race", "rate_limit", "reduce", "resource", "retry", "rx",
    "sample", "scan", "settled", "share", "sink", "skip", "skip_errors", "skip_until", "skip_while", "sliding",
    "source", "sqlite_checkpoints", "sqlite_letters", "stateful_map", "sum", "switch_map", "tail", "take", "take_last",
    "take_until", "take_while", "tap", "threads", "throttle_first", "timeout", "timer", "timestamp", "to_list", "unit",
    "window", "window_by", "wire_tap", "with_index", "with_latest_from", "zip", "zip_latest",
]


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'kayrx' has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

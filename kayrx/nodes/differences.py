"""Where an operator of kayrx does not do what its RxPY namesake does, and why.

Everything else with an RxPY name does the same, at the same virtual time: tests/test_parity.py holds it
to that.  Each row here is shown to be true, on both sides, by tests/nodes/test_differences.py.

>>> from kayrx.nodes.differences import DIFFERENCES
>>> [d.kayrx for d in DIFFERENCES if d.name == "timestamp"]
['seconds of the run as a float']
"""

from __future__ import annotations

from typing import NamedTuple


class Difference(NamedTuple):
    """One row: what the names do in RxPY, what they do in kayrx, and the reason."""

    name: str
    rxpy: str
    kayrx: str
    why: str


DIFFERENCES: tuple[Difference, ...] = (
    # -- functions
    Difference("map of an async function", "gives the bare coroutines", "awaits them",
               "a coroutine is no result"),
    Difference("flat_map, expand of Observables", "subscribes to them", "TypeError; kx.rx(ops.flat_map(f)) takes them",
               "what can be pulled is never held ahead of demand; an Observable can only push"),
    Difference("flat_map of many at once", "any number", "16 at once, then the source waits",
               "memory is bounded by construction"),
    Difference("expand of several inputs", "expands them side by side, without bound",
               "one input to its end before the next is read, `limit` items waiting",
               "memory is bounded by construction"),
    Difference("scan, reduce with a mutable seed", "one object for all subscriptions", "a copy for each run",
               "a second run must not see the first"),
    # -- what is missing
    Difference("reduce without items", "SequenceContainsNoElementsError", "RunError that says: give a seed",
               "an error names the node and the remedy"),
    Difference("first, last, element_at without such an item",
               "SequenceContainsNoElementsError, ArgumentOutOfRangeException; first_or_default and its like are names",
               "RunError that says: give a default; `default=` is an argument",
               "an error names the node and the remedy"),
    Difference("distinct of what has no hash", "compares with every earlier key", "TypeError",
               "the time of an item must not grow with the stream"),
    # -- lists and times
    Difference("sliding", "buffer_with_count(n, step) ends in lists that only repeat items",
               "a shorter last list comes only if it holds items that no list held",
               "no item is told of as if it were new"),
    Difference("buffer(seconds=)", "seconds from the subscription on, also empty lists",
               "seconds from the first item of a list, no empty list; as `operator()` it is RxPY's own",
               "silence is no result"),
    Difference("sample of an item at its instant", "item and timer by the order in which they were scheduled",
               "the timer before the item",
               "the order is the same on every backend (ruling 8)"),
    Difference("delay", "any number of items under way", "1024, then the source waits",
               "memory is bounded by construction"),
    Difference("timers", "on a thread of their own unless a scheduler is given", "in the run's own task",
               "what the user wrote for one thread runs in one"),
    Difference("timestamp", "a datetime", "seconds of the run as a float",
               "the world's clock is not the run's: only differences mean anything on every backend"),
    Difference("materialize", "reactivex.Notification objects, which have no hash",
               "frozen values: OnNext, OnError, OnCompleted", "what travels between nodes is compared and pickled"),
    # -- groups
    Difference("group_by", "gives Observables, one a key, and forgets none",
               "takes the graph of a group as its body; 1000 groups, then the longest unused is completed",
               "memory is bounded by construction"),
    Difference("window", "window_with_count gives Observables, and one that stays empty",
               "takes the graph of a window as its body, and opens none for no item", "silence is no result"),
    # -- joins
    Difference("merge, combine_latest of cold sources", "all of the first, then the second", "taking turns",
               "each branch has a bounded lane, and none may starve another"),
    Difference("zip of a fast and a slow source", "holds what the fast one gives, without bound",
               "`size` items a lane, then the fast one waits", "memory is bounded by construction"),
    Difference("join", "windows are Observables; ends when what is held of the side that has ended is too old",
               "`within` seconds, of arrival or of event time; ends with the next item or end of the other side",
               "a number has no timer, so recorded streams are joined as live ones are"),
    # -- failure and pressure
    Difference("retry, timeout, catch", "act on the whole stream, which begins again or is replaced",
               "act on one item of the node before them; on a source, on the stream",
               "one bad item must not repeat or end all others"),
    Difference("an Observable before a node that waits", "nothing waits, so nothing is full",
               "a queue of 1024 items, then GateOverflow; backpressure() says otherwise",
               "memory is bounded by construction"),
    Difference("an exception of a user's function", "reaches on_error as it is",
               "the same object, with a note of the node, its line and the item",
               "a traceback does not say which of five maps it was"),
)


__all__ = ["DIFFERENCES", "Difference"]

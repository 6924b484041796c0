"""What a client is told: six types of event, the same over every protocol.

    data       an item of the graph; str items are text deltas, which `conflate` may join
    retract    take back what came after ``data["after"]``: the run begins that part again
    end        the terminal of a run that ended: ``data["reason"]`` is complete, stopped, cancelled or shutdown
    error      the terminal of a run that failed; ``data`` is what the hub's ``describe`` says of the error
    heartbeat  nothing has happened, and the connection is alive
    resync     the cursor is not in the log any more: what you have is not what came just before ``data["next"]``

A run has exactly one terminal.  Events with ``seq > 0`` are in the session's log and can be replayed; the
others concern one client at one moment, and have no id.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from kayrx.errors import KayrxError, RunError

Type = Literal["data", "error", "end", "heartbeat", "retract", "resync"]
Reason = Literal["no session", "forbidden", "full", "too many", "too large", "invalid", "closing", "too slow"]
LEAVES = frozenset({str, bytes, int, float, bool, type(None)})
OVERHEAD = 250    # bytes that an entry of the log costs beside its data


@dataclass(frozen=True, slots=True)
class Event:
    """One event: ``seq`` counts from 1 in the session's log, and is 0 for what is not in it.

    ``count`` > 1 says that text deltas were joined: the event is those with seq - count + 1 ... seq.
    """

    seq: int
    type: Type
    data: Any = None
    count: int = 1

    @property
    def terminal(self) -> bool:
        """True for the last event of a stream."""
        return self.type in ("end", "error")


class Refused(RunError):
    """A client is refused; ``reason`` says why, and each protocol has a status for it.

    A session that does not exist and one of somebody else are the same: "no session".
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


Join = Callable[[Any, Any], Any]


def join_text(first: Any, second: Any) -> Any:
    """Two items as one: text is joined, anything else stays apart (NotImplemented)."""
    return first + second if type(first) is str and type(second) is str else NotImplemented


def joined(events: list[Event], join: Join) -> list[Event]:
    """``events`` with neighbouring data joined where ``join`` can."""
    out: list[Event] = []
    texts: list[str] = []    # of the last event; one join at the end keeps this linear
    for event in events:
        last = out[-1] if out else None
        if last is not None and last.type == event.type == "data" and last.seq == event.seq - event.count:
            if join is join_text:
                if type(last.data) is str and type(event.data) is str:
                    texts = texts or [last.data]
                    texts.append(event.data)
                    out[-1] = Event(event.seq, "data", last.data, last.count + event.count)
                    continue
            elif (both := join(last.data, event.data)) is not NotImplemented:
                out[-1] = Event(event.seq, "data", both, last.count + event.count)
                continue
        settle(out, texts)
        out.append(event)
    settle(out, texts)
    return out


def settle(out: list[Event], texts: list[str]) -> None:
    if texts:
        out[-1] = Event(out[-1].seq, "data", "".join(texts), out[-1].count)
        texts.clear()


def weight(data: Any, depth: int = 6) -> int:
    """The bytes that an item holds in memory: exact for text and bytes, a fair estimate for containers."""
    size = sys.getsizeof(data, 64)
    if type(data) in LEAVES or not depth:
        return size
    if isinstance(data, dict):
        for key, value in data.items():
            size += weight(key, depth - 1) + weight(value, depth - 1)
    elif isinstance(data, (list, tuple, set, frozenset)):
        for part in data:
            size += weight(part, depth - 1)
    elif not isinstance(data, (str, bytes, int, float)) and hasattr(data, "__dict__"):
        size += weight(vars(data), depth - 1)
    return size


def hidden(error: BaseException) -> dict[str, Any]:
    """What a client may know of a failure by default: its type.  A message may hold anything."""
    return {"type": type(error).__name__, "message": "the stream has failed"}


def told(error: BaseException) -> dict[str, Any]:
    """``describe=told``: the client sees the error's message and the node that it came from."""
    return {"type": type(error).__name__, "message": str(error),
            "notes": [str(note) for note in getattr(error, "__notes__", ())]}


def traced(error: BaseException) -> BaseException | None:
    """What a log shows below the line about ``error``: nothing, if it is kayrx's own and says all there is to say."""
    return None if isinstance(error, KayrxError) and error.__cause__ is None else error


__all__ = ["Event", "Join", "Reason", "Refused", "Type", "hidden", "join_text", "joined", "told", "traced", "weight"]

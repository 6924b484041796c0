"""Every error of kayrx, by the moment at which it can be known.

    writing     GraphError          the graph cannot mean anything
    compiling   CompileError        the graph is sound, but cannot run as it is written
    running     RunError            the run itself failed: bounds, deadlines, misuse
    importing   MissingDependency   an optional package is not installed

The exceptions of user code are never among them: they pass through with their own type and gain
one note (PEP 678) that names the node, its line, the item and the attempt.
"""

from __future__ import annotations


class KayrxError(Exception):
    """The base of every error that kayrx itself raises."""


class GraphError(KayrxError, ValueError):
    """The graph is wrong as it is written; raised by the line that writes it."""


class CompileError(KayrxError, TypeError):
    """The graph cannot be compiled; raised before anything is opened."""


class RunError(KayrxError, RuntimeError):
    """A run failed for a reason that is not the user's function."""


class GateOverflow(RunError):
    """A bounded gate with ``overflow="error"`` was full, or an operator exceeded its declared burst."""


class GateDeadlock(RunError):
    """Every task of the run waits on the run's own gates, so none can ever go on."""


class AbandonedCall(RunError):
    """A call on a thread outlived its timeout or the run's deadline and could not be stopped."""


class WorkerDied(RunError):
    """A worker process ended by itself or was killed while it worked on an item."""


class CallTimeout(RunError, TimeoutError):
    """A ``timeout`` guard ran out; ``which`` is ``first``, ``idle`` or ``total``.

    As Python's own TimeoutError it is an OSError: a guard with ``on=OSError`` takes it, one with ``on=ConnectionError``
    does not.
    """

    def __init__(self, message: str, which: str = "total") -> None:
        super().__init__(message)
        self.which = which


class DeadlineExceeded(RunError, TimeoutError):
    """The budget of a ``deadline`` guard is spent: what is under way is cancelled, and nothing more is tried."""


class CircuitOpen(RunError):
    """A ``circuit_breaker`` is open: the call was not made; ``seconds`` from now one may be."""

    def __init__(self, message: str, seconds: float = 0.0) -> None:
        super().__init__(message)
        self.seconds = seconds


class BulkheadFull(RunError):
    """A ``bulkhead`` has as many calls under way and waiting as it was made for: the call was not made."""


class Misused(RunError, TypeError):
    """A function gave what its node cannot use: a mistake in the program, which no guard takes for an item's."""


class MissingDependency(KayrxError, ImportError):
    """An optional package is missing; the message is the command that installs it."""


__all__ = [
    "AbandonedCall", "BulkheadFull", "CallTimeout", "CircuitOpen", "CompileError", "DeadlineExceeded", "GateDeadlock",
    "GateOverflow", "GraphError", "KayrxError", "MissingDependency", "RunError", "WorkerDied",
]

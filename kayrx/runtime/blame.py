"""Whose fault: the one-line note (PEP 678) on a user's exception.

The line of the generated function that was running says which node it was; the source's iterator
says which item.  So nothing is carried per item for the sake of a failure that may never come.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from kayrx.errors import GateOverflow, KayrxError
from kayrx.plan.plan import Segment, Step

GUARDS = tuple(str(Path(__file__).with_name("guards") / file)
               for file in ("chain.py", "first.py", "one.py", "many.py", "limiting.py"))

GATES = str(Path(__file__).with_name("gates"))

if TYPE_CHECKING:
    from kayrx.runtime.context import Context


def annotate(error: BaseException, run: Context, segment: Segment | None, step: Step | None,
             item: int | None) -> None:
    """Add the note, once a run; never raises itself.

    kayrx: in node 'invert' (map) at app.py:12, segment 2, item 17, attempt 2
    """
    if any(error is known for known in run.noted):
        return  # on its way down to a `materialize`, or raised again by a `dematerialize`
    run.noted.append(error)
    found = owner(error, run) or step
    if found is None and segment is not None:
        if isinstance(error, GateOverflow):
            if segment.steps and (segment.head is None or filled_here(error)):
                found = segment.steps[-1]
            else:  # it cannot hold what comes to it, and what is in hand has no part in that
                found, item = segment.head, -1
        elif not isinstance(error, KayrxError) or any(frames(error)):
            found = segment.fan if segment.fan is not None and behind_all(error, run) else segment.head
    if found is None:
        return
    parts = [f"kayrx: in node {found.where}"]
    if segment is not None and len(run.program.plan.segments) > 1:
        parts.append(f"segment {segment.index + 1}")
    if item is None and segment is not None and segment.index in run.positions:
        item = run.positions[segment.index]()
    if item is not None and item >= 0:
        parts.append(f"item {item}")
    if (attempt := attempts(error)) > 1:
        parts.append(f"attempt {attempt}")
    for note in (*unkept(error), ", ".join(parts)):
        if note not in getattr(error, "__notes__", ()):
            try:
                error.add_note(note)
            except Exception:  # an exception may forbid notes; its own meaning matters more
                return


def unkept(error: BaseException) -> Iterator[str]:
    """What to say where a letter could not be kept: why there was one."""
    for frame in frames(error):
        if frame.f_code.co_name == "letter" and (first := frame.f_locals.get("error")) is not error:
            yield f"kayrx: the store could not keep a letter, which is of {type(first).__name__}: {first}"


def filled_here(error: BaseException) -> bool:
    """True if generated code itself has filled the gate that is full."""
    trace, before = error.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if before.startswith("<kayrx ") and file.startswith(GATES):
            return True
        before, trace = file, trace.tb_next
    return False


def attempts(error: BaseException) -> int:
    """How often the item was tried: a local of the retry guard that gave up; 1 without one."""
    return next((found for frame in frames(error) if isinstance(found := frame.f_locals.get("attempt"), int)), 1)


def frames(error: BaseException) -> Iterator[FrameType]:
    """The frames of guards through which ``error`` has come, outer before inner."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.startswith(GUARDS):
            yield trace.tb_frame
        trace = trace.tb_next


def owner(error: BaseException, run: Context) -> Step | None:
    """The step whose generated line is deepest in the traceback."""
    codes = {code.file: code for code in run.program.codes()}
    found = None
    if isinstance(error, RuntimeError) and isinstance(error.__cause__, StopIteration | StopAsyncIteration):
        error = error.__cause__  # Python's own wrapping of one that leaves a coroutine or generator (PEP 479)
    trace = error.__traceback__
    while trace is not None:
        code = codes.get(trace.tb_frame.f_code.co_filename)
        if code is not None:
            found = code.owner(trace.tb_lineno) or found
        trace = trace.tb_next
    return found


def behind_all(error: BaseException, run: Context) -> bool:
    """True if the generated line that failed stands behind all steps: a fan-out chose a way for the item."""
    codes = {code.file: code for code in run.program.codes()}
    trace, below = error.__traceback__, False
    while trace is not None:
        if (code := codes.get(trace.tb_frame.f_code.co_filename)) is not None:
            below = code.raised_below(error)
        trace = trace.tb_next
    return below


def number_in_hand(error: BaseException, file: str) -> int | None:
    """The ``number`` of the item that the failing function of ``file`` had taken: a local of its frame."""
    trace, found = error.__traceback__, None
    while trace is not None:
        ours = trace.tb_frame.f_code.co_filename.startswith((file, "<kayrx "))
        if ours and "number" in trace.tb_frame.f_locals:
            found = int(trace.tb_frame.f_locals["number"])
        elif found is not None and not ours:  # deeper down may be another run, in the user's own function
            break
        trace = trace.tb_next
    return found

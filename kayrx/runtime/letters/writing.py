"""A letter as it is written in a run: its key, what is known of the failure, and the store it goes to."""

from __future__ import annotations

import traceback
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kayrx.nodes.guards import DeadLetter
from kayrx.nodes.letters import Letter, key_of, origin_of
from kayrx.plan.plan import Step, every
from kayrx.plan.reentry import filed_under, name_given
from kayrx.runtime.blame import attempts, owner

if TYPE_CHECKING:
    from kayrx.runtime.context import Context
    from kayrx.runtime.guards.chain import Guarded


def addressed(guarded: Guarded, guard: DeadLetter, x: Any, error: Exception) -> tuple[Any, Letter]:
    """The letter of an item that has failed, and where to put it."""
    run, step = guarded.run, guarded.step
    known: dict[str, Any] = {
        "error": error, "traceback": "".join(traceback.format_exception(error)), "time": run.world.wall(),
        "failed_at": failed_at(run, step, error)}
    ident, replay = place_of(guarded, guard), run.replay
    label = step.label if replay is None else step.node.label
    node = label if guarded.inside is None else f"{guarded.inside}.{label}"
    later = label != step.label  # in a replay: the body of a loop stands there twice, and it has gone round
    held = ident if replay is None or guarded.inside is None else replay.grouped
    before = replay.letter(held) if replay is not None else None
    if replay is not None and before is not None and len(held) == 3 and before.node == node and not later:
        known["attempts"] = before.attempts + attempts(error)
        return replay.failed_again(held), replace(before, item=x, **known)
    if guarded.inside is not None:
        before = None
    run_id = run.id
    context: dict[str, Any] = {"run": run_id, "written": str(step.node.written or "")}
    nodes = run.program.nodes if replay is None else replay.nodes
    graph = filed_under(guard, nodes)
    if before is not None and "position" in before.context:  # it has got further, and is still that item of that run
        origin, ident = origin_of(before.id), (*before.context["position"], *ident[3:], *(["round"] if later else []))
    elif ident is not None and name_given(guard, nodes) and ident[0] in replayable(run):
        origin = graph
    else:
        origin = run_id
    if ident is None:
        key = key_of(origin, node, run.next_letter())
    else:
        key = key_of(origin, node, *ident)
        context["position"] = list(ident)
    letter = Letter(key, x, node, attempts=attempts(error), graph=graph, context=context, **known)
    return run.opened.store(guard.store), letter


def place_of(guarded: Guarded, guard: DeadLetter) -> Any:
    """The id of the item in hand; None where none is known or needed."""
    run, segment = guarded.run, guarded.run.program.plan.segments[0]
    if not guard.keyed or guarded.step.node.role == "source" or guarded.inside is not None:
        return None
    if guarded.ident is not None or run.ledger.exact:
        return guarded.ident
    if run.program.plan.linear and segment.head is not None and 0 in run.positions:
        return segment.head.label, 0, run.positions[0]()
    return None


def failed_at(run: Context, step: Step, error: Exception) -> str:
    """The node inside a unit that raised; the unit itself if that is not known."""
    found = owner(error, run)
    return found.label if found is not None and any(found is inner for inner in every(step.inner)) else step.label


def replayable(run: Context) -> set[str]:
    """The sources of a run whose items have the same ids in each run."""
    return {s.label for s in run.program.plan.steps()
            if s.node.role == "source" and getattr(s.node, "replayable", None) is not None}

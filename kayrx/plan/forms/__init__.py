"""Forms: what each node does to one item, as lines of a generated function.  A family a file."""

from kayrx.plan.forms import (
    about,
    checkpoint,
    chunks,
    ends,
    eventtime,
    groups,
    growth,
    position,
    retract,
    select,
    stateful,
    transform,
    windows,
)
from kayrx.plan.forms.base import end, gives_at_end, has_form, item, result

__all__ = [
    "about", "checkpoint", "chunks", "end", "ends", "eventtime", "gives_at_end", "groups", "growth", "has_form", "item",
    "position", "result", "retract", "select", "stateful", "transform", "windows",
]

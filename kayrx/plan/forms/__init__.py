"""Forms: what each node does to one item, as lines of a generated function.  A family a file."""

from kayrx.plan.forms import ends, eventtime, select, transform, windows
from kayrx.plan.forms.base import end, gives_at_end, has_form, item, result

__all__ = ["end", "ends", "eventtime", "gives_at_end", "has_form", "item", "result", "select", "transform", "windows"]

"""Forms: what each node does to one item, as lines of a generated function.  A family a file."""

from kayrx.plan.forms import ends, position, select, transform, windows
from kayrx.plan.forms.base import end, gives_at_end, has_form, item, result

__all__ = ["end", "ends", "gives_at_end", "has_form", "item", "position", "result", "select", "transform", "windows"]

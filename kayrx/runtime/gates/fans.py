"""The fan of a segment: the gates below it, and when it is over."""

from __future__ import annotations

from kayrx.plan.plan import Segment
from kayrx.plan.turns import replays
from kayrx.runtime.context import Context
from kayrx.runtime.gates.circles import Turning
from kayrx.runtime.gates.gate import Fan
from kayrx.runtime.sources.sharing import Sharing


def fan_of(run: Context, segment: Segment) -> Fan:
    """The gates below ``segment``, as what it ends in wants them."""
    gates = [run.gates[i] for i in segment.outs]
    if segment.fan is not None and replays(segment):
        made = run.program
        late = {lane for lane, i in enumerate(segment.outs) if made.plan.gates[i].target in made.turns}
        return Sharing(gates, run, segment.fan, [made.plan.gates[i].overflow for i in segment.outs], late)
    circle = next((c for c in run.circles if c.exit is segment), None)
    if circle is not None:
        return Turning(gates, circle)
    return Fan(gates, gates[-1] if segment.fan and segment.fan.node.aside else None)

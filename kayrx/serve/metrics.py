"""``/metrics`` in Prometheus' text format, from the hub's runs as they are at this moment."""

from __future__ import annotations

from collections import defaultdict

from kayrx.serve.hub import Hub
from kayrx.serve.session import Session

HELP = {
    "kayrx_clients": ("gauge", "clients that read now"),
    "kayrx_sessions": ("gauge", "sessions by what their run is doing"),
    "kayrx_clients_let_go_total": ("counter", "clients that were let go: too slow, or raised"),
    "kayrx_log_events": ("gauge", "events that can be replayed"),
    "kayrx_log_bytes": ("gauge", "bytes of these"),
    "kayrx_events_total": ("counter", "events that the runs have given"),
    "kayrx_items_total": ("counter", "items taken, by segment"),
    "kayrx_gate_depth": ("gauge", "items that wait in a gate"),
    "kayrx_gate_size": ("gauge", "items that a gate holds at most"),
    "kayrx_gate_passed_total": ("counter", "items that have passed a gate"),
    "kayrx_gate_dropped_total": ("counter", "items that a gate's policy has dropped"),
}


def quoted(value: str) -> str:
    """A label's value as the format wants it."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def prometheus(hub: Hub) -> str:
    """The figures of the hub and of all its runs; those of runs of one graph are added up."""
    found: dict[tuple[str, str], float] = defaultdict(float)
    found["kayrx_clients", ""] = hub.clients
    found["kayrx_clients_let_go_total", ""] = hub.let_go
    for session in hub.all():
        found["kayrx_sessions", f"{{state={quoted(session.state)}}}"] += 1
        found["kayrx_log_events", ""] += len(session.log.entries)
        found["kayrx_log_bytes", ""] += session.log.held
        found["kayrx_events_total", ""] += session.log.last
        add(found, session)
    lines = []
    for name, (kind, help) in HELP.items():
        samples = [(labels, value) for (metric, labels), value in found.items() if metric == name]
        if samples:
            lines += [f"# HELP {name} {help}", f"# TYPE {name} {kind}"]
            lines += [f"{name}{labels} {value:g}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def add(found: dict[tuple[str, str], float], session: Session) -> None:
    metrics = session.metrics()
    for number, segment in enumerate(metrics.segments if metrics else ()):
        found["kayrx_items_total", f"{{segment={quoted(f'{number + 1} {segment.name}')}}}"] += segment.taken
    for gate in metrics.gates if metrics else ():
        labels = f"{{gate={quoted(gate.name)}}}"
        found["kayrx_gate_depth", labels] += gate.depth
        found["kayrx_gate_size", labels] += gate.size
        found["kayrx_gate_passed_total", labels] += gate.passed
        found["kayrx_gate_dropped_total", labels] += gate.dropped


__all__ = ["prometheus"]

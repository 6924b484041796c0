"""Delivery: one run of a graph, many clients, over SSE, WebSocket, NDJSON and gRPC, with resume.

``pip install "kayrx[serve]"`` brings what the protocols need; `Hub` by itself needs nothing.  Names are loaded
when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kayrx.serve.app import mount
    from kayrx.serve.client import Frames, Subscription
    from kayrx.serve.events import Event, Refused, told
    from kayrx.serve.hub import Hub, Report, cancel_after
    from kayrx.serve.limits import Allowed, Limits
    from kayrx.serve.log import Keep
    from kayrx.serve.outbox import Outbox
    from kayrx.serve.session import Session

_HOMES = {
    "app": "mount",
    "client": "Frames Subscription",
    "events": "Event Refused told",
    "hub": "Hub Report cancel_after",
    "limits": "Allowed Limits",
    "log": "Keep",
    "outbox": "Outbox",
    "session": "Session",
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = ["Allowed", "Event", "Frames", "Hub", "Keep", "Limits", "Outbox", "Refused", "Report", "Session",
           "Subscription", "cancel_after", "mount", "told"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'kayrx.serve' has no attribute {name!r}")
    value: object = getattr(import_module(f"kayrx.serve.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

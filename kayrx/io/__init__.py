"""Sources, sinks and stores beyond memory; a leaf: what needs an optional package is a file of its own.

`sse_client`, `websocket_client`, `http_lines` and `post_each` need ``pip install "kayrx[clients]"``,
`grpc_client` needs ``kayrx[grpc]``; names are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kayrx.io.event_stream import ServerSent
    from kayrx.io.grpc import grpc_client
    from kayrx.io.http import http_lines, sse_client
    from kayrx.io.lasting import ConnectionLost, Gap, RemoteError
    from kayrx.io.posting import Answered, Refusal, post_each
    from kayrx.io.websocket import websocket_client

_HOMES = {
    "event_stream": "ServerSent",
    "grpc": "grpc_client",
    "http": "http_lines sse_client",
    "lasting": "ConnectionLost Gap RemoteError",
    "posting": "Answered Refusal post_each",
    "websocket": "websocket_client",
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = ["Answered", "ConnectionLost", "Gap", "Refusal", "RemoteError", "ServerSent", "grpc_client", "http_lines",
           "post_each", "sse_client", "websocket_client"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'kayrx.io' has no attribute {name!r}")
    value: object = getattr(import_module(f"kayrx.io.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

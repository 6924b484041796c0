"""What a call over gRPC says and is told: its end as a status, its caller, and the other end as a `Wire`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from kayrx.serve.events import Refused
from kayrx.serve.grpc_wire import Ask

TEXT = 1024    # characters of a status that are sent
STATUS = {"no session": "NOT_FOUND", "forbidden": "PERMISSION_DENIED", "full": "RESOURCE_EXHAUSTED",
          "too many": "RESOURCE_EXHAUSTED", "too large": "RESOURCE_EXHAUSTED", "invalid": "INVALID_ARGUMENT",
          "closing": "UNAVAILABLE", "too slow": "RESOURCE_EXHAUSTED"}
ENDS = {"complete": "OK", "stopped": "OK", "cancelled": "CANCELLED", "shutdown": "UNAVAILABLE",
        "too slow": "RESOURCE_EXHAUSTED", "expired": "UNAUTHENTICATED"}


class Gone(Exception):
    """The other end is not there any more."""


class Wire(Protocol):
    """The other end of a call."""

    host: str
    metadata: Mapping[str, str]

    async def begin(self, metadata: Mapping[str, str]) -> None:
        """Send the initial metadata."""

    async def read(self) -> bytes | None:
        """The next message; None: there will be none."""

    async def write(self, data: bytes) -> None:
        """Send a message.  Raises: Gone."""


class Ending(NamedTuple):
    """How a call ends: the name of a status, its text, and the reason for the trailing metadata."""

    status: str
    text: str = ""
    reason: str = ""


class Address(NamedTuple):
    host: str


@dataclass(frozen=True, slots=True)
class Caller:
    """What `authorize` is asked about: ``headers`` are the call's metadata, so that one hook serves every protocol."""

    headers: Mapping[str, str]
    client: Address
    query_params: Mapping[str, str] = field(default_factory=dict)


def refused(error: Refused) -> Ending:
    return Ending(STATUS[error.reason], str(error), error.reason)


def failed(data: Any) -> Ending:
    """The end of a run that failed, from what the hub describes of the error."""
    if not isinstance(data, Mapping):
        return Ending("INTERNAL", str(data)[:TEXT], "error")
    lines = [f"{data.get('type', 'error')}: {data.get('message', '')}", *data.get("notes", ())]
    return Ending("INTERNAL", "\n".join(map(str, lines))[:TEXT], "error")


def understood(data: bytes) -> Any:
    """A message.  Raises: Refused, "invalid"."""
    try:
        return Ask.FromString(data)
    except Exception as error:    # protobuf has its own error, of a module of its implementation
        raise Refused("invalid", "that is no kayrx.v1.Ask, or it is compressed") from error


__all__ = ["ENDS", "Address", "Caller", "Ending", "Gone", "Wire", "failed", "refused", "understood"]

"""The messages of the gRPC service, as `stream.proto` has them, made from a descriptor when they are first needed."""

from __future__ import annotations

from typing import Any

from kayrx.errors import MissingDependency
from kayrx.serve.client import Frames
from kayrx.serve.encoding import as_json
from kayrx.serve.events import Event

try:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
except ImportError as missing:
    raise MissingDependency(f"gRPC needs {missing.name}: pip install \"kayrx[grpc]\"") from missing

SERVICE = "kayrx.v1.Stream"
OPEN = f"/{SERVICE}/Open"
SESSION, AFTER, REASON = "kayrx-session", "kayrx-after", "kayrx-reason"
VERBS = ("", "stop", "cancel", "detach", "resume")
TYPES = ("data", "error", "end", "heartbeat", "retract", "resync")
UNLIMITED = (1 << 63) - 1


def described() -> Any:
    """The file's descriptor."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="kayrx/serve/stream.proto", package="kayrx.v1", syntax="proto3")
    ask, events, event = (file.message_type.add(name=name) for name in ("Ask", "Events", "Event"))
    for owner, enum, names in ((ask, "Verb", ("none", *VERBS[1:])), (event, "Type", TYPES)):
        values = owner.enum_type.add(name=enum).value
        for number, name in enumerate(names):
            values.add(name=name.upper(), number=number)

    def add(owner: Any, number: int, name: str, kind: int, type_name: str | None = None,
            label: int = field.LABEL_OPTIONAL) -> Any:
        return owner.field.add(name=name, number=number, type=kind, type_name=type_name, label=label, json_name=name)

    for number, name, kind in ((1, "input", field.TYPE_STRING), (2, "request", field.TYPE_INT64)):
        optional = add(ask, number, name, kind)
        optional.proto3_optional, optional.oneof_index = True, number - 1
    for name in ("_input", "_request"):
        ask.oneof_decl.add(name=name)
    add(ask, 3, "verb", field.TYPE_ENUM, ".kayrx.v1.Ask.Verb")
    add(events, 1, "events", field.TYPE_MESSAGE, ".kayrx.v1.Event", field.LABEL_REPEATED)
    add(event, 1, "type", field.TYPE_ENUM, ".kayrx.v1.Event.Type")
    for number, name, kind in ((2, "id", field.TYPE_STRING), (3, "seq", field.TYPE_UINT64),
                               (4, "data", field.TYPE_STRING), (5, "count", field.TYPE_UINT32)):
        add(event, number, name, kind)
    file.service.add(name="Stream").method.add(
        name="Open", input_type=".kayrx.v1.Ask", output_type=".kayrx.v1.Events",
        client_streaming=True, server_streaming=True)
    return file


_pool = descriptor_pool.Default()
_pool.AddSerializedFile(described().SerializeToString())    # the same again is no error, so that a reload is none


def message(name: str) -> Any:
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"kayrx.v1.{name}"))


Ask, Events, Wired = message("Ask"), message("Events"), message("Event")
IN_A_BATCH = b"\x0a"    # field 1, length-delimited: so many of these, one after the other, are an `Events`


def wired(event: Event, id: str | None) -> bytes:
    """One event as a part of `Events`: batches are joined from parts that were encoded once for all clients.

    >>> Events.FromString(wired(Event(7, "data", "a"), "k3Jx-7") + wired(Event(8, "end", {}), "k3Jx-8")).events[0].seq
    7
    """
    body: bytes = Wired(
        type=TYPES.index(event.type), id=id or "", seq=event.seq, count=event.count if event.count > 1 else 0,
        data="" if event.type == "heartbeat" else as_json(event.data)).SerializeToString()
    return IN_A_BATCH + varint(len(body)) + body


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def frames() -> Frames:
    """A store of encoded events."""
    return Frames(wired)


__all__ = ["AFTER", "OPEN", "REASON", "SERVICE", "SESSION", "TYPES", "UNLIMITED", "VERBS", "Ask", "Events", "frames"]

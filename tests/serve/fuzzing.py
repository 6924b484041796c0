"""Hostile bytes for every decoder: what each is given, what it may raise, and how frames are mutated.

``python -m tests.serve.fuzzing DECODER [options of libFuzzer]`` looks for more of them, led by coverage (atheris).
"""

from __future__ import annotations

import asyncio
import gc
import json
import math
import random
import sys
import tempfile
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import httpx2
import pydantic
from starlette.applications import Starlette

import kayrx as kx
from kayrx.io import codecs, grpc as grpc_client, records, websocket
from kayrx.io.event_stream import Decoder
from kayrx.io.http import EventStream, LinesFrom
from kayrx.io.lasting import Again, Broken
from kayrx.serve import Limits, mount
from kayrx.serve.grpc_call import Call, Service
from kayrx.serve.grpc_terms import STATUS, Ending
from kayrx.serve.grpc_wire import Ask, Events
from kayrx.serve.hub import Hub
from tests.serve.conftest import Twin

LONGEST = 4096    # characters or bytes of one message that the decoders here allow
EVIL = [b"\0", b"\r", b"\n", b"\r\n", b"\n\n", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xef\xbb\xbf",
        "\u2028".encode(), b"9" * 400, b"-1", b"1e999", b"NaN", b"0x7f", b"[" * 3000, b'{"a":' * 1500, b"\\ud83d",
        b"\\u0000", b"data: x\n\nevent: end", b"id: \0", b'"', b"\\", b"{}", b"null", b"x" * 3000, b":", b"=", b"%00"]
ODD: list[Any] = [
    None, True, -1, 0, 1 << 70, 1.5, 1e308, "", "\0", "\ud800", "\r\n", "x" * 3000, [], {}, [[]], "start", "resume", 3,
    {"$": "x"}, {"$": "decimal", "of": "x"}, {"$": [], "of": 1}, {"$": "dict", "of": [[[], 1]]}, {"$": "set"},
    {"$": "float", "of": []}, {"$": "bytes", "of": "?"}, "text"]


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def mutated(seed: bytes, others: list[bytes], dice: random.Random) -> bytes:
    """A frame that was valid, spoiled in up to four ways."""
    data = bytearray(seed)
    for _ in range(dice.randrange(1, 5)):
        at, to = sorted((dice.randrange(len(data) + 1), dice.randrange(len(data) + 1)))
        match dice.randrange(8):
            case 0 if data:
                data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
            case 1:
                del data[at:to]
            case 2:
                data[at:at] = data[at:to] * min(dice.choice([1, 2, 50]), 20_000 // (to - at + 1))
            case 3 | 4:
                data[at:at] = dice.choice(EVIL)
            case 5:
                data[at:to] = dice.choice(others)
            case 6:
                return bytes(told(seed, dice))
            case _:
                del data[at:]
    return bytes(data[:40_000])


def told(seed: bytes, dice: random.Random) -> bytes:
    """JSON in which one value is another one, deep, odd or large; what is no JSON as it is."""
    begin = seed.find(b"{")
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            places.append((node, key))
            walk(node[key])
    try:
        value = json.loads(seed[begin:])
        walk(value)
    except (ValueError, RecursionError):
        return seed
    if places:
        node, key = dice.choice(places)
        if dice.random() < 0.2:
            del node[key]
        else:
            node[key] = dice.choice([*ODD, nested(dice.choice([5, 300, 900]))])
    try:
        return seed[:begin] + json.dumps(value).encode()
    except RecursionError:
        return seed


# -- the decoders ----------------------------------------------------------------------------------------


class Kit:
    """What decoders are tried on; one loop and one app for all cases."""

    def __init__(self) -> None:
        self.dice = random.Random(1)
        self.stop: Any = None
        self.twin: Any = None
        self.folder = tempfile.TemporaryDirectory()
        self.made: list[Any] = []

    async def begin(self) -> None:
        ready, self.stop = asyncio.Event(), asyncio.Event()

        async def host() -> None:
            app = Starlette()
            limits = Limits(requests=1 << 40, streams=1 << 20, body=LONGEST)
            options: Any = {"limits": limits, "max_sessions": 1 << 20, "linger": 0.01, "heartbeat": None}
            mount(app, "/ask", lambda q: kx.source(["a", q]), **options)
            mount(app, "/typed", lambda q: kx.source([q.text]), inputs=Question, **options)
            mount(app, "/door", kx.source([1]), origins=["https://friend.example"], hosts=["here"], **options)
            async with Hub(lambda q: kx.source([q]), **{"max_sessions": 1 << 20, "linger": 0.01}) as self.hub, Twin(
                    app) as self.twin:
                self.service = Service(hub=self.hub, limits=limits, heartbeat=None)
                ready.set()
                await self.stop.wait()
        self.task = asyncio.ensure_future(host())
        await ready.wait()

    async def end(self) -> None:
        self.stop.set()
        await self.task
        self.folder.cleanup()

    def cut(self, data: bytes) -> Iterator[bytes]:
        """The bytes in chunks, as a network gives them."""
        size = (1, 7, 100, 1 << 20)[len(data) % 4] if len(data) < 5000 else 1000
        return (data[start:start + size] for start in range(0, len(data), size))


class Question(pydantic.BaseModel):
    text: str


async def sse(data: bytes, kit: Kit) -> None:
    """The decoder holds no more than its limit, and an event is what was said: no field has a line end, no id NUL."""
    decoder = Decoder(limit=LONGEST)
    try:
        for chunk in kit.cut(data):
            for event in decoder.feed(chunk):
                assert not {"\n", "\r"} & {*event.id, *event.type} and "\0" not in event.id and "\r" not in event.data
                assert len(event.data) <= LONGEST + len(chunk) and event.count >= 1
            assert decoder.held <= LONGEST
    except kx.RunError:
        pass


async def read(node: Any) -> None:
    try:
        async for _ in node():
            pass
    except (kx.RunError, UnicodeDecodeError):
        pass


def answering(data: bytes, kind: str, kit: Kit) -> Callable[[], httpx2.AsyncClient]:
    async def body() -> AsyncIterator[bytes]:
        for chunk in kit.cut(data):
            yield chunk
    return lambda: httpx2.AsyncClient(transport=httpx2.MockTransport(
        lambda request: httpx2.Response(200, headers={"content-type": kind}, content=body())))


async def sse_source(data: bytes, kit: Kit) -> None:
    """`sse_client`: events, or an error of ours."""
    await read(EventStream("http://x", kx_empty(), (), None, LONGEST, Again(1), answering(
        data, "text/event-stream", kit)))


async def lines(data: bytes, kit: Kit) -> None:
    """`http_lines`: lines, or an error of ours, or that it is no UTF-8."""
    await read(LinesFrom("http://x", kx_empty(), (), None, LONGEST, Again(1), answering(data, "text/plain", kit)))


def kx_empty() -> Any:
    from kayrx.nodes.values import EMPTY
    return EMPTY


class FromServer:
    """A WebSocket whose server says these messages."""

    says: tuple[str, ...] = ()

    def __init__(self, *_: Any) -> None:
        self.messages = list(self.says)

    async def open(self) -> None: ...
    async def send(self, text: str) -> None: ...
    async def close(self, last: str | None = None) -> None: ...

    async def receive(self) -> str:
        if not self.messages:
            raise Broken("over")
        return self.messages.pop(0)


async def socket_source(data: bytes, kit: Kit) -> None:
    """`websocket_client`: events, or an error of ours."""
    FromServer.says = ('{"id":"k","type":"started","data":{"session":"s","run":"abcdefgh"}}',
                       *data.decode("utf-8", "replace").split("\n"))
    real, websocket.Wire = websocket.Wire, FromServer    # type: ignore[misc, assignment]
    try:
        await read(websocket.Connected("ws://x", again=Again(1)))
    finally:
        websocket.Wire = real    # type: ignore[misc]


class FromService:
    """A call whose server answers with these bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = [data]

    async def write(self, ask: Any) -> None: ...
    async def initial_metadata(self) -> Any: ...
    def cancel(self) -> None: ...

    async def read(self) -> Any:
        return Events.FromString(self.data.pop()) if self.data else grpc_client.grpc.aio.EOF


async def call_source(data: bytes, kit: Kit) -> None:
    """`grpc_client`: events, or an error of ours; what is no message at all gRPC itself refuses."""
    try:
        Events.FromString(data)
    except Exception:
        return
    client = grpc_client.OverCalls(grpc_client.Connected("x:1", again=Again(1)))
    client.called = lambda held: FromService(data)    # type: ignore[method-assign]
    try:
        async for _ in client.opened():
            pass
    except (kx.RunError, Broken):
        pass


async def socket(data: bytes, kit: Kit) -> None:
    """A socket's messages: each is heeded, refused in words, or closes it with its code."""
    talk = kit.twin.talk("/ask/ws")
    for line in data.split(b"\n")[:20]:
        talk.say(line.decode("utf-8", "replace"))
    talk.leave()
    await talk.over.wait()
    assert talk.code in (0, 1000, 1007, 1009), talk.code
    assert all(said["data"]["error"] in STATUS for said in talk.heard if said["type"] == "refused")
    assert not any(said["type"] == "error" for said in talk.heard), talk.heard


async def called(data: bytes, kit: Kit) -> None:
    """The messages of a call, each with its length before it: an end with a status, and never a fault of ours."""
    from tests.serve.test_grpc import Far

    far = Far()
    while data:
        size, data = data[0], data[1:]
        far.raw(data[:size])
        data = data[size:]
    far.raw(None)
    ending: Ending = await Call(kit.service, far).run()
    assert ending.status in {"OK", "CANCELLED", *STATUS.values()} and len(ending.text) < 300, ending


async def posted(data: bytes, kit: Kit) -> None:
    """A body, over each protocol that answers at once: a status that says what is wrong, or a whole stream."""
    way = len(data) % 5
    path = ("/ask?protocol=ai-sdk", "/ask?protocol=ag-ui", "/ask", "/typed?protocol=ag-ui", "/typed")[way]
    answer = await kit.twin.ask(path, "POST", data, accept="text/event-stream")
    assert answer.status in (200, 413, 422) and answer.over, (answer.status, answer.body)
    if answer.status == 200:
        end = (b"[DONE]", b"RUN_", b"event: end", b"RUN_", b"event: end")[way]
        assert end in answer.body.split(b"\n\n")[-2] and answer.body.isascii() and b"event: error" not in answer.body


async def door(data: bytes, kit: Kit) -> None:
    """Host, Origin and cursor of a request: 200 or a refusal; a foreign page is never let in."""
    host, origin, seen, *_ = [part.decode("latin-1") for part in data.split(b"\n")] + ["", "", ""]
    answer = await kit.twin.ask("/door", host=host, origin=origin, last_event_id=seen)
    assert answer.status in (200, 204, 403), answer.status
    assert answer.status == 403 or origin.lower() in ("https://friend.example", f"http://{host}".lower()) or (
        origin.lower().removesuffix(":443") == "https://friend.example") or same(origin, host), (host, origin)


def same(origin: str, host: str) -> bool:
    return origin.lower().removesuffix(":80") == f"http://{host}".lower().removesuffix(":80")


async def letters(data: bytes, kit: Kit) -> None:
    """A file of letters, its check sums made true again: whole letters, and a warning for each that is none."""
    path = Path(kit.folder.name, "letters.jsonl")
    path.write_bytes(b"\n".join(resealed(line) for line in data.split(b"\n")))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        store = kx.json_letters(path, fsync=False)
        for letter in store.items(None):
            assert isinstance(letter, kx.Letter)
        list(store.items())


def resealed(line: bytes) -> bytes:
    """With a true check sum: who can write the file can write that."""
    from zlib import crc32

    if not line.startswith(b'{"crc":"') or len(line) < 19:
        return line
    return line[:8] + b"%08x" % crc32(line[18:]) + line[16:]


async def codec(data: bytes, kit: Kit) -> None:
    """Text of a codec: an item that can be written again, or a ValueError, whatever was wrong."""
    try:
        item = codecs.json_codec.decode(data.decode("utf-8", "surrogateescape"))
    except ValueError:
        return
    codecs.json_codec.encode(item)


# -- what they are given ---------------------------------------------------------------------------------


def lettered() -> bytes:
    import decimal

    item = {"a": [1, (2, {3}), b"x", math.inf, decimal.Decimal("1.5")], (1,): None}
    letter = kx.Letter("g/n/1", item, "n", ValueError("no"), "trace", 1, 0.5, "g", "n", {"key": "value"})
    return "\n".join([records.written(letter, codecs.json_codec).line, records.done(("g/n/1",))]).encode()


def sized(*asks: Any) -> bytes:
    return b"".join(bytes([len(ask)]) + ask for ask in (Ask(**each).SerializeToString() for each in asks))


def batch(*events: Any) -> bytes:
    out: bytes = Events(events=events).SerializeToString()
    return out


STREAM = (b'retry: 1000\n\nid: abcdefgh-1\ndata: "a"\n\nid: abcdefgh-3\ncount: 2\ndata: {"a": 1}\n\n: heartbeat\n\n'
          b'id: abcdefgh-4\nevent: retract\ndata: {"after": 2}\n\nevent: end\ndata: {"reason": "complete"}\n\n')
AGENT = (b'{"threadId": "t", "runId": "r", "state": {}, "messages": [{"id": "1", "role": "user", "content": "hi"}], '
         b'"tools": [], "context": [], "forwardedProps": {}, "text": "x"}')
CHAT = (b'{"id": "c", "messages": [{"id": "m", "role": "user", "parts": [{"type": "text", "text": "hi"}]}], '
        b'"trigger": "x"}')
KEPT = {"a": (1, b"x"), 2: {3}, "d": math.nan, "n": [None, True]}
Decode = Callable[[bytes, Kit], Awaitable[None]]
DECODERS: dict[str, tuple[Decode, list[bytes]]] = {
    "sse": (sse, [STREAM, b"\xef\xbb\xbfdata: a\r\ndata: b\r\r\n", b"event: x\rdata\rid: 7\r\r"]),
    "sse_source": (sse_source, [STREAM, b'event: error\ndata: {"type": "E", "message": "m"}\n\n']),
    "lines": (lines, [b'{"a": 1}\n{"b": "\xc3\xa9"}\r\n\nlast', b"x\n" * 30]),
    "socket_source": (socket_source, [
        b'{"id":"k","seq":1,"type":"data","data":"a"}\n[{"id":"k","seq":3,"type":"data","data":[1],"count":2}]\n'
        b'{"id":"k","seq":4,"type":"end","data":{"reason":"complete"}}',
        b'{"id":"k","type":"refused","data":{"error":"full","message":"no"}}',
        b'{"id":"k","seq":2,"type":"error","data":{"type":"E","message":"m"}}',
        b'{"id":"k","seq":5,"type":"resync","data":{"after":3,"next":4}}']),
    "call_source": (call_source, [
        batch({"type": 0, "id": "abcdefgh-1", "seq": 1, "data": '"a"'}, {"type": 4, "id": "abcdefgh-2", "seq": 2,
              "data": '{"after": 1}', "count": 3}, {"type": 2, "id": "abcdefgh-3", "seq": 3, "data": '{"reason":"x"}'}),
        batch({"type": 1, "seq": 2, "data": '{"type":"E","message":"m"}'}, {"type": 5, "data": "null"})]),
    "socket": (socket, [
        b'{"type":"start","id":"a","data":{"q":1},"credit":1,"many":true}\n{"type":"request","id":"a","n":3}\n'
        b'{"type":"stop","id":"a"}\n{"type":"ping","data":1}\n{"type":"detach","id":"a"}',
        b'{"type":"resume","id":"b","session":"x","after":"abcdefgh-1"}\n{"type":"cancel","id":"b"}\n{"type":"pong"}']),
    "called": (called, [
        sized({"input": "1", "request": 2}, {"request": 1}, {"verb": 1}), sized({"input": '{"a": [1]}'}),
        sized({"request": 5}), sized({"input": '"x"', "request": 1}, {"verb": 3}, {"verb": 2})]),
    "posted": (posted, [AGENT, CHAT, b'{"text": "x"}', b'"just text"', b"7"]),
    "door": (door, [b"here\nhttp://here\nabcdefgh-1", b"here\nhttps://friend.example\n", b"here\nnull\n1",
                    b"[::1]:80\nhttp://[::1]\n-", b"here:80\nhttp://here:80\nx"]),
    "letters": (letters, [lettered()]),
    "codec": (codec, [codecs.json_codec.encode(KEPT).encode(),
                      b'{"$":"datetime","of":"2026-01-01T00:00:00"}', b'{"$":"uuid","of":"0"}'])}


def main() -> None:
    import atheris

    name = sys.argv.pop(1)
    decode, seeds = DECODERS[name]
    loop, kit = asyncio.new_event_loop(), Kit()
    loop.run_until_complete(kit.begin())
    dice = random.Random()

    def one(data: bytes) -> None:
        loop.run_until_complete(asyncio.wait_for(decode(data, kit), 5))

    def custom(data: bytes, most: int, seed: int) -> bytes:
        dice.seed(seed)
        if dice.random() < 0.4:
            return bytes(atheris.Mutate(data, most))
        return mutated(data or dice.choice(seeds), seeds, dice)[:most]

    corpus = Path(kit.folder.name, "corpus")
    corpus.mkdir()
    for number, seed in enumerate(seeds):
        (corpus / str(number)).write_bytes(seed)
    for function in gc.get_objects():
        if isinstance(function, FunctionType) and (function.__module__ or "").startswith(("kayrx.io", "kayrx.serve")):
            atheris.instrument_func(function)
    atheris.Setup([sys.argv[0], "-max_len=20000", *sys.argv[1:], str(corpus)], one, custom_mutator=custom)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

"""Clients as sources and sinks, against a server that answers what a test says, on both loops."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import websockets.asyncio.server

import kayrx as kx
from kayrx.io import ConnectionLost, Gap, Refusal, RemoteError, http_lines, post_each, sse_client, websocket_client

pytestmark = pytest.mark.anyio
HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n"


def stream(text: str, head: str = "") -> bytes:
    return f"{HEAD}{head}\r\n{text}".encode()


def events(*numbers: int, run: str = "abcdefgh", end: str = "complete") -> str:
    """Items as kayrx sends them, and its end if there is one."""
    last = f'event: end\ndata: {{"reason":"{end}"}}\n\n' if end else ""
    return "".join(f"id: {run}-{n}\ndata: {n}\n\n" for n in numbers) + last


def answer(status: str, head: str = "", body: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n{head}\r\n{body}".encode()


class Server:
    """Answers each connection in turn; keeps what was asked, and how many were there at once."""

    def __init__(self, answers: list[Any]) -> None:
        self.answers, self.asked = list(answers), list[str]()
        self.open = self.most = self.port = 0
        self.waits: list[float] = []
        self.left, self.came = anyio.Event(), anyio.Event()

    async def serve(self, near: Any) -> None:
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            async with near:
                head = b""
                while b"\r\n\r\n" not in head:
                    head += await near.receive()
                self.asked.append(head.decode())
                self.came.set()
                what = self.answers.pop(0) if self.answers else b""
                if callable(what):
                    await what(near)
                else:
                    await near.send(what)
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            pass
        finally:
            self.open -= 1
            self.left.set()

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await anyio.lowlevel.checkpoint()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/x"

    def again(self, **options: Any) -> dict[str, Any]:
        return {"backoff": kx.constant(0), "world": kx.World(sleep=self.sleep), **options}


@asynccontextmanager
async def server(*answers: Any) -> AsyncIterator[Server]:
    one = Server(list(answers))
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    one.port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, one.serve)
        yield one
        group.cancel_scope.cancel()


async def test_a_stream_goes_on_where_it_broke_off() -> None:
    """Last-Event-ID, `retry:` and Retry-After are honoured; what comes twice is left out; the end completes."""
    async with server(stream("retry: 700\n\n" + events(1, 2, end="")), answer("503 Busy", "Retry-After: 4\r\n"), b"",
                      stream(events(2, 3, 4, end="shutdown")), stream(events(5))) as at:
        client = sse_client(at.url, headers={"X-Key": "s"}, **at.again())
        seen = await (client >> kx.map(lambda e: e.json()) >> kx.to_list())
    assert seen == [1, 2, 3, 4, 5] and at.waits == [0.7, 4, 0.7, 0.7]
    ids = [next((line[15:] for line in asked.splitlines() if line.lower().startswith("last-event-id")), None)
           for asked in at.asked]
    assert ids == [None, "abcdefgh-2", "abcdefgh-2", "abcdefgh-2", "abcdefgh-4"]
    assert all("x-key: s" in asked.lower() for asked in at.asked)


@pytest.mark.parametrize(("told", "wait"), [
    ("4", 4), ("Thu, 01 Jan 1970 00:00:30 GMT", 20), ("99999999", 300), ("\u00b3", 0), ("soon", 0)])
@pytest.mark.parametrize("make", [sse_client, websocket_client])
async def test_a_server_says_when_to_come_back(make: Any, told: str, wait: float) -> None:
    """Retry-After in seconds or as a date, and no longer than five minutes; what is neither asks for nothing."""
    busy = answer("503 Busy").replace(b"\r\n\r\n", b"\r\nRetry-After: " + told.encode("latin-1") + b"\r\n\r\n")
    async with server(busy, answer("404 No")) as at:
        url = at.url if make is sse_client else at.url.replace("http", "ws", 1)
        world = kx.World(sleep=at.sleep, wall=lambda: 10.0)
        with pytest.raises(kx.RunError, match="404"):
            await (make(url, **at.again(world=world)) >> kx.to_list())
    assert at.waits == [wait]


async def test_what_was_posted_is_resumed_with_the_query_of_its_url() -> None:
    """The session stands below the path; a password in the query goes along."""
    first = stream(events(1, end=""), "X-Session: s3cret\r\n")
    async with server(first, stream(events(2))) as at:
        seen = await (sse_client(f"{at.url}/ask?token=t", json="why", **at.again()) >> kx.map(lambda e: e.data)
                      >> kx.to_list())
        asked = [head.partition(" HTTP")[0] for head in at.asked]
    path = asked[0].removeprefix("POST ").partition("?")[0]
    assert seen == ["1", "2"] and asked == [f"POST {path}?token=t", f"GET {path}/s3cret?token=t"]


async def test_what_is_missing_is_told() -> None:
    """A leap in the numbers, and the server's own resync: an event, or with gaps="error" a Gap; not joined items."""
    joined = "id: abcdefgh-4\ncount: 2\ndata: 4\n\n"
    text = events(1, 2, end="") + joined + events(9, end="") + "event: resync\ndata: {}\n\n" + events(1, run="otherrun")
    async with server(stream(text), stream(text)) as at:
        seen = await (sse_client(at.url, **at.again()) >> kx.map(lambda e: (e.type, e.json())) >> kx.to_list())
        with pytest.raises(Gap, match="missing"):
            await (sse_client(at.url, gaps="error", **at.again()) >> kx.to_list())
    assert seen == [("message", 1), ("message", 2), ("message", 4), ("resync", {"after": 4, "next": 9}), ("message", 9),
                    ("resync", {}), ("message", 1)]


async def test_ids_of_others_are_passed_on_unread() -> None:
    """No number is guessed at: times, equal ids, none at all; named events; 204 completes."""
    text = "id: 1719-0\ndata: a\n\nid: 1719-9\nevent: end\ndata: no JSON\n\ndata: c\n\nevent: error\ndata: 7\n\n"
    async with server(stream(text), answer("204 No Content")) as at:
        seen = await (sse_client(at.url, **at.again()) >> kx.map(lambda e: (e.type, e.data, e.id)) >> kx.to_list())
    assert seen == [("message", "a", "1719-0"), ("end", "no JSON", "1719-9"), ("message", "c", "1719-9"),
                    ("error", "7", "1719-9")]


@pytest.mark.parametrize(("answers", "options", "error", "match"), [
    ([answer("404 No")], {}, kx.RunError, "answered 404$"),
    ([answer("422 No", body='{"error": "x", "message": "post\\nit"}')], {}, kx.RunError, "answered 422: post it$"),
    ([answer("403 No", body="<p>no\0</p>" + "x" * 999)], {}, kx.RunError, r"403: <p>no </p>x{290}$"),
    ([answer("307 There", "Location: /words\r\n")], {}, kx.RunError, "307: it is at '/words'; write"),
    ([answer("200 OK")], {}, kx.RunError, "without a type"),
    ([b""] * 3, {"attempts": 3}, ConnectionLost, "3 times in a row"),
    ([answer("500 No")], {"attempts": 1}, ConnectionLost, "500"),
    ([stream("data: " + "x" * 999)], {"limit": 99}, kx.RunError, "longer than 99"),
    ([stream('event: error\ndata: {"type":"ValueError","message":"no"}\n\n')], {}, RemoteError, "ValueError: no"),
    ([stream(events(1, end=""))], {"json": 1}, ConnectionLost, "post it again")])
async def test_what_cannot_be_mended_is_an_error(answers: Any, options: Any, error: Any, match: str) -> None:
    """A refusal, no event stream, too many failures, an event too long, the stream's own failure, a post that broke."""
    async with server(*answers) as at:
        graph = sse_client(at.url, **at.again(**options)) >> kx.to_list()
        with pytest.raises(error, match=match):
            await graph
        assert len(at.asked) == len(answers) and "test_clients.py" in graph.nodes[0].where


async def forever(near: Any) -> None:
    await near.send(stream(events(1, 2, 3, end="")))
    await near.receive()    # until the client goes


@pytest.mark.parametrize("client", [sse_client, http_lines])
async def test_leaving_closes_the_socket(client: Callable[[str], Any]) -> None:
    """By `take`, and by cancelling while it waits: before the run is over, the connection is."""
    async with server(*[forever if client is sse_client else lines] * 2) as at:
        assert len(await (client(at.url) >> kx.take(2) >> kx.to_list())) == 2
        with anyio.fail_after(9):
            await at.left.wait()
        at.left = anyio.Event()
        waiting = anyio.Event()
        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                group.start_soon(awaited, client(at.url) >> kx.sink(lambda _: waiting.set()))
                await waiting.wait()
                group.cancel_scope.cancel()
            await at.left.wait()
        assert len(at.asked) == 2 and at.open == 0


async def awaited(graph: Any) -> None:
    await graph


async def lines(near: Any) -> None:
    await near.send(b"HTTP/1.1 200 OK\r\n\r\n1\n2\n3\n")
    await near.receive()


async def test_lines_come_whole() -> None:
    """Across chunks, CR LF, multibyte text, no end at the last; begun anew only if asked."""
    head, text = b"HTTP/1.1 200 OK\r\nConnection: close\r\n", "α\r\n\r\n\u2028b\nlast".encode()

    async def slow(near: Any) -> None:
        await near.send(head + b"\r\n")
        for byte in text:
            await near.send(bytes([byte]))
            await anyio.sleep(0.001)
    broken = head + b"Content-Length: 9\r\n\r\na\n"
    async with server(slow, broken, broken, head + b"\r\na\nb\n", head + b"\r\n" + b"x" * 99) as at:
        assert await (http_lines(at.url) >> kx.to_list()) == ["α", "", "\u2028b", "last"]
        with pytest.raises(ConnectionLost):
            await (http_lines(at.url) >> kx.to_list())
        assert await (http_lines(at.url, **at.again(attempts=2)) >> kx.to_list()) == ["a", "a", "b"]
        with pytest.raises(kx.RunError, match="longer than 9"):
            await (http_lines(at.url, limit=9) >> kx.to_list())


async def test_each_item_is_posted_a_bounded_number_at_once() -> None:
    """In order, `concurrency` at once, with guards behind it as behind any unit."""
    async def take(near: Any) -> None:
        await anyio.sleep(0.01)
        await near.send(answer("200 OK"))

    no = answer("503 No", "Retry-After: 0.01\r\n", "why")
    async with server(*[take] * 6, no, no) as at:
        posted = kx.source(range(6)) >> post_each(at.url, concurrency=3)
        seen = await (posted >> kx.map(lambda a: a.status) >> kx.to_list())
        assert seen == [200] * 6 and at.most == 3
        letters: list[kx.Letter] = []
        await (kx.source([{"n": 7}]) >> post_each(at.url) >> kx.retry(2) >> kx.dead_letter(letters) >> kx.to_list())
        assert isinstance(letters[0].error, Refusal) and letters[0].error.body == b"why"
        assert letters[0].attempts == 2 and letters[0].item == {"n": 7}
        at.answers += [answer("307 There", "Location: /take\r\n")]    # and nothing has taken the item
        with pytest.raises(Refusal, match="307: it is at '/take'"):
            await (kx.source(["x"]) >> post_each(at.url) >> kx.to_list())
        at.answers += [answer("200 OK", body="long" * 9)]
        with pytest.raises(kx.RunError, match="more than 9 bytes"):
            await (kx.source(["x"]) >> post_each(at.url, limit=9) >> kx.to_list())


async def test_writing_a_client_opens_nothing() -> None:
    """It is a value: equal, printed without its secrets, pickled; bad options are told when it is written."""
    async with server() as at:
        for make in (sse_client, http_lines):
            graph = make(at.url, headers={"Authorization": "secret"}, json={"also": "secret"})  # type: ignore[operator]
            assert "secret" not in repr(graph) and "secret" not in graph.explain()
            assert graph == make(at.url, headers={"Authorization": "secret"}, json={"also": "secret"})  # type: ignore[operator]
            assert pickle.loads(pickle.dumps(graph)) == graph
        socket = websocket_client("ws://h/ws", session="secret", headers={"Authorization": "secret"})
        assert "secret" not in repr(socket) and pickle.loads(pickle.dumps(socket)) == socket
        assert pickle.loads(pickle.dumps(post_each(at.url))) == post_each(at.url)
        assert at.asked == []


@pytest.mark.parametrize("wrong", [
    lambda: sse_client("ftp://x"), lambda: sse_client("http://x", gaps="no"),  # type: ignore[arg-type]
    lambda: sse_client("http://x", attempts=0),
    lambda: sse_client("http://x", idle=0), lambda: http_lines("http://x", limit=0), lambda: post_each("x"),
    lambda: post_each("http://x", concurrency=0), lambda: websocket_client("http://x"),
    lambda: websocket_client("ws://x", credit=0), lambda: websocket_client("ws://x", session="a", input=1),
    lambda: sse_client("http://x", jitter="some")])  # type: ignore[arg-type]
def test_wrong_options_are_told_when_written(wrong: Callable[[], Any]) -> None:
    """GraphError, with the option's name."""
    with pytest.raises(kx.GraphError, match=r"\("):
        wrong()


@pytest.mark.parametrize(("package", "name"), [("httpx2", "sse_client"), ("httpx2", "post_each"),
                                               ("websockets", "websocket_client")])
def test_without_the_extra_the_remedy_is_told_when_a_client_is_made(package: str, name: str) -> None:
    """MissingDependency, with the command."""
    code = (f"import sys; sys.modules[{package!r}] = None; import kayrx.io\n"
            f"try: kayrx.io.{name}('http://x')\nexcept kayrx.errors.MissingDependency as e: print(e)")
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True).stdout
    assert 'pip install "kayrx[clients]"' in told


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_socket_says_where_it_goes_on_and_how_much_it_takes(anyio_backend: str) -> None:
    """Start, then resume behind the last event; items by credit; what comes twice is left out; pings are answered."""
    heard: list[list[Any]] = []

    async def serve(socket: Any) -> None:
        said = [json.loads(await socket.recv())]
        heard.append(said)
        seen = len(heard) * 3 - 3
        await socket.send('{"id":"k","type":"started","data":{"session":"s","run":"abcdefgh"}}')
        await socket.send('{"type":"ping"}')
        for seq in range(max(1, seen), seen + 4):
            await socket.send(f'{{"id":"k","seq":{seq},"type":"data","data":{seq}}}')
        said += [json.loads(await socket.recv()) for _ in range(2)]
        if len(heard) == 3:
            await socket.send('{"id":"k","seq":11,"type":"end","data":{"reason":"complete"}}')

    async with websockets.asyncio.server.serve(serve, "127.0.0.1", 0) as at:
        url = f"ws://127.0.0.1:{at.sockets[0].getsockname()[1]}"
        client = websocket_client(url, input="x", credit=4, backoff=kx.constant(0))
        assert await (client >> kx.map(lambda event: event.data) >> kx.to_list()) == list(range(1, 10))
    assert [said[0].get("after") for said in heard] == [0, "abcdefgh-3", "abcdefgh-6"]
    assert [said[0]["type"] for said in heard] == ["start", "resume", "resume"] and heard[1][0]["session"] == "s"
    assert all({"type": "pong"} in said and {"type": "request", "id": "k", "n": 2} in said for said in heard)

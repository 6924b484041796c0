"""The demo's web face: text arrives as it was, clients that leave are let go, stopping leaves nothing."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import httpx2
import pytest

from kayrx.demo import web
from kayrx.errors import MissingDependency

pytestmark = pytest.mark.anyio

Events = Callable[[], AsyncIterator[tuple[str, object]]]


@pytest.fixture
def anyio_backend() -> str:
    """uvicorn runs on asyncio only."""
    return "asyncio"


@asynccontextmanager
async def served(events: Events, stop: Callable[[], Awaitable[None] | None] = lambda: None,
                 ) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a real server on a free port; leaving stops the server."""
    async with anyio.create_task_group() as group:
        port = await group.start(web.serve, web.app(events, stop), 0)
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            yield client
        group.cancel_scope.cancel()


async def received(client: httpx2.AsyncClient) -> list[tuple[str, object]]:
    """All events of one client, until the server ends the stream."""
    async with client.sse("/events") as stream:
        return [(event.event, event.json()) async for event in stream]


class Watched:
    """An endless iterator of events that tells when it began and when it was closed."""

    def __init__(self, *, waits: bool) -> None:
        self.waits = waits
        self.calls = 0
        self.began, self.closed = anyio.Event(), anyio.Event()

    async def __call__(self) -> AsyncIterator[tuple[str, object]]:
        self.calls += 1
        try:
            while True:
                yield "token", "x" * 1000
                self.began.set()
                if self.waits:
                    await anyio.sleep_forever()
        finally:
            self.closed.set()


AWKWARD = [
    'She said: "so" and \'so\'', "a\nb", "\n", "\n\n", "a\rb", "\r\n", " leading", "trailing ", "",
    "data: not a field", "\u2028\u2029\x85\x0b", "\0", "\\n", "</script>", "ß日本語",
    "\N{FAMILY}", "\N{MAN}", "\N{ZERO WIDTH JOINER}", "\N{WOMAN}", "\ufe0f", "\U0001f1e9", "\U0001f1ea",
    "\ud83d", "\ude00",    # one smile, torn into halves that are no text of their own
]


async def test_any_text_arrives_as_it_was_sent() -> None:
    """Quotes, line ends, field names and torn emoji pass the wire without a changed character."""
    async def events() -> AsyncIterator[tuple[str, object]]:
        for text in AWKWARD:
            yield "token", text
        yield "figures", {"tokens": 3, "tokens_per_second": 1.5, "first_token_ms": None, "queue_depth": 0}
        yield "end", {"reason": "complete"}

    async with served(events) as client:
        arrived = await received(client)

    assert [value for name, value in arrived if name == "token"] == AWKWARD
    assert arrived[-2:] == [
        ("figures", {"tokens": 3, "tokens_per_second": 1.5, "first_token_ms": None, "queue_depth": 0}),
        ("end", {"reason": "complete"}),
    ]


async def test_the_bytes_are_ascii_frames_of_one_line() -> None:
    """No text can end a line: every frame is its name, one line of JSON and an empty line."""
    async def events() -> AsyncIterator[tuple[str, object]]:
        for text in AWKWARD:
            yield "token", text

    async with served(events) as client:
        answer = await client.get("/events")

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.content == b"".join(
        b"event: token\r\ndata: " + json.dumps(text).encode("ascii") + b"\r\n\r\n" for text in AWKWARD)


@pytest.mark.parametrize("waits", [True, False], ids=["waiting source", "source that never waits"])
async def test_a_client_that_leaves_has_its_iterator_closed(waits: bool) -> None:
    """Leaving closes the iterator, whether it waits at that moment or has never waited at all."""
    source = Watched(waits=waits)

    async with served(source) as client:
        async with client.sse("/events"):
            await source.began.wait()
        with anyio.fail_after(2):
            await source.closed.wait()


async def test_a_client_that_reads_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full socket is not for ever: after the send timeout the iterator is closed."""
    monkeypatch.setattr(web, "SEND_SECONDS", 0.2)
    source = Watched(waits=False)

    async with (
        served(source) as client,
        await anyio.connect_tcp("127.0.0.1", client.base_url.port or 0) as deaf,
    ):
        await deaf.send(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with anyio.fail_after(10):
            await source.closed.wait()


async def test_each_client_has_an_iterator_of_its_own_and_head_has_none() -> None:
    """GET calls the source once a client; HEAD answers with the headers and never calls it."""
    source = Watched(waits=True)

    async with served(source) as client:
        head = await client.head("/events")
        assert (head.status_code, head.headers["content-type"].split(";")[0]) == (200, "text/event-stream")
        assert source.calls == 0
        async with AsyncExitStack() as clients:
            for _ in range(3):
                stream = await clients.enter_async_context(client.sse("/events"))
                await anext(aiter(stream))
            assert source.calls == 3


async def test_a_source_that_fails_ends_with_the_event_error() -> None:
    """What came before is kept, the failure is named, and the stream ends."""
    async def events() -> AsyncIterator[tuple[str, object]]:
        yield "token", "so far"
        raise ValueError('no "more"')

    async with served(events) as client:
        assert await received(client) == [
            ("token", "so far"), ("error", {"message": 'ValueError: no "more"'})]


async def test_stop_reaches_the_maker_of_the_events() -> None:
    """POST /stop calls the plain or async function once and answers 204; other methods do not."""
    calls: list[str] = []

    async def asynchronous() -> None:
        calls.append("async")

    for stop in (lambda: calls.append("plain"), asynchronous):
        async with served(Watched(waits=True), stop) as client:
            assert (await client.get("/stop")).status_code == 405
            assert (await client.post("/stop")).status_code == 204

    assert calls == ["plain", "async"]


async def test_cancelling_the_server_ends_open_streams_and_leaves_nothing() -> None:
    """In less than 2 s: iterator closed, client cut off, port free, no task left on the loop."""
    source, before = Watched(waits=True), asyncio.all_tasks()

    async with anyio.create_task_group() as group:
        port = await group.start(web.serve, web.app(source, lambda: None), 0)
        async with httpx2.AsyncClient(trust_env=False) as client, \
                client.sse(f"http://127.0.0.1:{port}/events") as stream:
            await anext(aiter(stream))
            with anyio.fail_after(2, shield=True):
                group.cancel_scope.cancel()
                await source.closed.wait()

    assert asyncio.all_tasks() == before
    socket.create_server(("127.0.0.1", port)).close()


async def test_a_taken_port_is_an_error_and_not_an_exit() -> None:
    """The operating system's own error reaches the caller (uvicorn alone would end the process)."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        await web.serve(web.app(Watched(waits=True), lambda: None), taken.getsockname()[1])


async def test_the_page_needs_nothing_but_itself() -> None:
    """One file: it names no other host, loads nothing, and puts text in as text only."""
    async with served(Watched(waits=True)) as client:
        answer = await client.get("/")

    assert answer.headers["content-type"].startswith("text/html")
    assert not re.search(r"https?://(?!www\.w3\.org/)|\bsrc=|<link(?! rel=.icon. href=.data:)|@import|url\(",
                         answer.text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write", answer.text)
    assert 'EventSource("/events")' in answer.text


def test_a_missing_package_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the import fails with the remedy, not with a bare ModuleNotFoundError."""
    import kayrx.demo

    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "kayrx.demo.web")
    monkeypatch.delattr(kayrx.demo, "web")
    with pytest.raises(MissingDependency, match=r"uvicorn: pip install kayrx\[demo\]"):
        import kayrx.demo.web as _  # noqa: F401

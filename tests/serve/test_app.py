"""The routes of a mounted graph, called in process on virtual time: streams, sessions, and who is refused."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel
from starlette.applications import Starlette

import kayrx as kx
from kayrx.serve import Allowed, Hub, Limits, Outbox, mount

Virtual = Callable[[Any], Any]
AWKWARD = [
    "a\nb", "\n\n", "a\rb", "\r\n", "\0", " leading", "trailing ", "", "data: x\n\nevent: end", ":", "id: 7",
    "\u2028\x85", "\ud83d", "\ude00", "ß日本語", "\N{FAMILY}\ufe0f", "</script>", "\ufeff", '"\\"', "retry: 0\r",
]


def parsed(body: bytes) -> list[dict[str, Any]]:
    """A stream as the WHATWG algorithm reads it, with JSON data."""
    events, fields, data = [], dict[str, Any](), list[str]()
    for line in body.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                events.append({**fields, "data": json.loads("\n".join(data))})
            fields, data = {}, []
        elif name == "data":
            data.append(value)
        elif name:
            fields[name] = value
    return events


def lines(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in body.splitlines()]


@pytest.mark.parametrize("accept", [
    "*/*", "text/event-stream", "application/x-ndjson", "application/x-ndjson;q=0.4, text/event-stream",
    "application/*;q=0.9, text/*;q=0.1"])
def test_any_text_arrives_as_it_was_in_the_protocol_that_accept_chose(virtual: Virtual, twin: Any, accept: str) -> None:
    """Newlines, CR, NUL, field names and torn surrogates change nothing; ids only where there is a replay."""
    async def main() -> Any:
        app = FastAPI()
        mount(app, "/words", kx.source(AWKWARD))
        async with twin(app) as client:
            return await client.ask("/words", accept=accept)

    answer = virtual(main)
    events = (lines if accept.startswith("application") and "q=0.4" not in accept else parsed)(answer.body)
    assert [event["data"] for event in events] == [*AWKWARD, {"reason": "complete"}]
    assert len({event["id"] for event in events}) == len(AWKWARD) + 1 and answer.body.isascii()
    assert answer.headers["x-accel-buffering"] == "no" and "no-store" in answer.headers["cache-control"]


@pytest.mark.parametrize("outbox", ["disconnect", "conflate"])
def test_cut_after_any_byte_and_resumed_a_client_has_seen_exactly_the_stream(
        virtual: Virtual, twin: Any, tokens: Any, outbox: Any) -> None:
    """200 connections, each cut after a random byte at a random time, the run going on or over; by header or query."""
    draw = random.Random(7)
    text = "Wherever the wire is cut, no word is lost; and none comes twice."

    async def main() -> list[str]:
        app, out = Starlette(), []
        mount(app, "/say", lambda _: kx.source(tokens(text, 0.01)), on_disconnect="continue", outbox=outbox,
              limits=Limits(requests=10**6))
        async with twin(app) as client:
            cuts = 0
            while cuts < 200:
                url = json.loads((await client.ask("/say", "POST")).body)["events"]
                seen = list[Any]()
                while not seen or seen[-1].get("event") != "end":
                    id = seen[-1]["id"] if seen else ""
                    asked = f"{url}?after={id}" if cuts % 2 and id else url
                    answer = client.open(asked, **({"last_event_id": id} if id and not cuts % 2 else {}))
                    await anyio.sleep(draw.random() * 0.3)
                    answer.gone.set()
                    seen += parsed(answer.body[:draw.randrange(len(answer.body) + 1)])
                    cuts += 1
                out.append("".join(event["data"] for event in seen[:-1]))
        return out

    told = virtual(main)
    assert len(told) > 4 and set(told) == {text}


def test_who_has_seen_the_end_is_told_to_stay_away_and_a_foreign_cursor_is_told_of_it(
        virtual: Virtual, twin: Any) -> None:
    """204, at which an EventSource stops; one ``resync`` with a cursor of nobody, whatever is in it."""
    async def main() -> list[Any]:
        app = Starlette()
        mount(app, "/w", kx.source([1]))
        async with twin(app) as client:
            end = parsed((await client.ask("/w")).body)[-1]["id"]
            return [(await client.ask("/w", last_event_id=end)).status,
                    parsed((await client.ask("/w", last_event_id="k\0-3")).body)[0]]

    assert virtual(main) == [204, {"event": "resync", "data": {"after": "k\0-3", "next": 1}}]


def test_a_session_is_started_streamed_stopped_and_resumed(virtual: Virtual, twin: Any, tokens: Any) -> None:
    """POST gives an id; its stream is read, cut, stopped by another request, and what came is there to be resumed."""
    class Question(BaseModel):
        text: str

    async def main() -> list[Any]:
        app = FastAPI()
        mount(app, "/ask", lambda q: kx.source(tokens(q.text)), inputs=Question)
        async with twin(app) as client:
            made = await client.ask("/ask", "POST", b'{"text": "hello world"}', content_type="application/json")
            url = json.loads(made.body)["events"]
            stream = client.open(url)
            await stream.until(4)
            detached = await client.ask(f"{url}/detach", "POST")
            stream.gone.set()
            await anyio.sleep(2)
            state = json.loads((await client.ask(f"{url}/state")).body)
            stopped = json.loads((await client.ask(f"{url}/stop", "POST")).body)
            whole = parsed((await client.ask(url)).body)
            at_once = await client.ask("/ask", "POST", b'{"text": "ab"}', accept="application/x-ndjson")
            return [made.status, made.headers["location"] == url, json.loads(detached.body)["state"], state["state"],
                    state["segments"][0]["taken"], stopped["state"], [e["data"] for e in whole],
                    [e["data"] for e in lines(at_once.body)], len(at_once.headers["x-session"])]

    assert virtual(main) == [201, True, "running", "running", 5, "stopped", [*"hello", {"reason": "stopped"}],
                             ["a", "b", {"reason": "complete"}], 43]


@pytest.mark.parametrize(("control", "status"), [(False, 403), (True, 200)])
def test_the_common_run_is_steered_only_where_that_is_allowed(
        virtual: Virtual, twin: Any, tokens: Any, control: bool, status: int) -> None:
    """It is everybody's: nobody stops it for the others unless the mount says control=True."""
    async def main() -> list[int]:
        app = Starlette()
        mount(app, "/w", kx.source(tokens("abc")), control=control)
        async with twin(app) as client:
            return [(await client.ask(f"/w/shared/{verb}", "POST")).status for verb in ("detach", "resume", "stop")]

    assert virtual(main) == [status] * 3


async def owner(request: Any) -> Any:
    """Whom the header names; and what a hook may do wrong."""
    match request.headers.get("who"):
        case None | "":
            return None
        case "no":
            return False
        case "raise":
            raise LookupError("secret")
        case "hang":
            await anyio.sleep_forever()
        case who:
            return who


def test_the_sessions_of_others_cannot_be_seen_or_steered(virtual: Virtual, twin: Any, tokens: Any) -> None:
    """An attack with a true id: every route gives the same 404 as for an id that never was, byte for byte."""
    async def main() -> Any:
        app = Starlette()
        mount(app, "/ask", lambda q: kx.source(tokens("secret")), authorize=owner)
        async with twin(app) as client:
            url = json.loads((await client.ask("/ask", "POST", who="her")).body)["events"]
            answers = {(a.status, a.body) for base in (url, "/ask/" + "x" * 43, "/ask/shared") for a in [
                await client.ask(base, who="him"), await client.ask(f"{base}/state", who="him"),
                await client.ask(base, who="him", last_event_id="x-1"),
                *[await client.ask(f"{base}/{verb}", "POST", who="him") for verb in ("stop", "detach", "resume")]]}
            hers = (await client.ask(f"{url}/stop", "POST", who="her")).status
            return answers, hers

    answers, hers = virtual(main)
    assert [status for status, _ in answers] == [404] and hers == 200


@pytest.mark.parametrize(("who", "seconds"), [("", 0), ("no", 0), ("raise", 0), ("hang", 5)])
def test_the_hook_fails_closed(virtual: Virtual, twin: Any, who: str, seconds: float) -> None:
    """None, False, an exception and a hook that hangs are 403, in 5 s, and no graph was started."""
    made: list[Any] = []

    async def main() -> tuple[int, float]:
        app = Starlette()
        mount(app, "/ask", lambda q: made.append(q), authorize=owner)
        async with twin(app) as client:
            return (await client.ask("/ask", "POST", who=who)).status, anyio.current_time()

    assert virtual(main) == (403, seconds) and made == []


def test_an_authorisation_that_expires_closes_the_stream(virtual: Virtual, twin: Any, tokens: Any) -> None:
    """After its seconds the stream ends and says so; who is let in again resumes."""
    async def main() -> Any:
        app = Starlette()
        mount(app, "/ask", kx.source(tokens(range(6))), authorize=lambda request: Allowed("me", 2.6))
        async with twin(app) as client:
            seen = parsed((await client.ask("/ask")).body)
            return seen + parsed((await client.ask("/ask", last_event_id=seen[1]["id"])).body)

    assert [e["data"] for e in virtual(main)] == [0, 1, {"reason": "expired"}, 2, 3, 4, {"reason": "expired"}]


@pytest.mark.parametrize(("headers", "status"), [
    ({}, 200), ({"origin": "http://here"}, 200), ({"origin": "https://friend.example"}, 200),
    ({"origin": "null"}, 403), ({"origin": "https://here"}, 403), ({"origin": "http://here:8080"}, 403),
    ({"origin": "http://here.evil.example"}, 403), ({"origin": "http://evilhere"}, 403),
    ({"origin": "https://friend.example.evil"}, 403), ({"origin": "https://evil/https://friend.example"}, 403),
    ({"origin": "https://friend.example/path"}, 403), ({"origin": "https://friend.example@evil"}, 403),
    ({"origin": "https://friend.example:444"}, 403), ({"origin": "http://friend.example"}, 403), ({"origin": ""}, 403),
    ({"origin": "http://here:99999"}, 403), ({"sec_fetch_site": "cross-site"}, 403),
    ({"origin": "http://HERE"}, 200), ({"origin": "http://here:80"}, 200), ({"origin": "HTTP://here"}, 403),
    ({"origin": "http://here:0"}, 403), ({"origin": "http://here:080"}, 403), ({"origin": "http://here:"}, 403),
    ({"origin": "http://[here"}, 403),
    ({"origin": "http://here\t"}, 403), ({"origin": "http://here, http://evil"}, 403), ({"origin": "\xe4"}, 403),
    ({"host": "[here"}, 403), ({"host": "[here", "origin": "http://[here"}, 403), ({"host": "here@evil"}, 403),
    ({"host": "rebound.example", "origin": "http://rebound.example"}, 403)])
def test_foreign_origins_are_refused(virtual: Virtual, twin: Any, headers: Any, status: int) -> None:
    """Only this very origin and those listed, whole: no suffix, path, port, ``null`` or rebound name."""
    async def main() -> Any:
        app = Starlette()
        mount(app, "/w", kx.source([1]), origins=["https://friend.example"], hosts=["here"])
        async with twin(app) as client:
            answer = await client.ask("/w", **headers)
            asked = await client.ask("/w", "OPTIONS", access_control_request_method="POST", **headers)
            return answer, asked

    answer, asked = virtual(main)
    assert answer.status == status and asked.status == (204 if status == 200 else 403)
    assert answer.headers.get("access-control-allow-origin") == (headers.get("origin") if status == 200 else None)


@pytest.mark.parametrize(("body", "headers", "status"), [
    (b'{"text": 7}', {}, 422), (b"{", {}, 422), (b"\xff\xfe", {}, 422), (b"[" * 50_000, {}, 422),
    (b"x" * 70_000, {}, 413), ([b"x" * 40_000, b"x" * 40_000], {}, 413), (b"", {"content_length": "99999999"}, 413),
    (b'{"text": "x"}', {"content_encoding": "gzip"}, 422), (b'{"text": "x"}', {}, 201)])
def test_bad_input_is_refused_before_a_graph_is_made(virtual: Virtual, twin: Any, body: Any, headers: Any, status: int
                                                     ) -> None:
    """What is no JSON, not of the schema, too large, or packed has its status; the answer repeats none of it."""
    class Question(BaseModel):
        text: str

    made: list[Any] = []

    def make(question: Any) -> Any:
        made.append(question)
        return kx.source([1])

    async def main() -> Any:
        app = Starlette()
        mount(app, "/ask", make, inputs=Question)
        async with twin(app) as client:
            return await client.ask("/ask", "POST", body, **headers)

    answer = virtual(main)
    assert (answer.status, len(made)) == (status, int(status == 201)) and len(answer.body) < 300


def test_a_body_that_does_not_come_is_not_waited_for(virtual: Virtual, twin: Any) -> None:
    """After `slow` seconds the request is refused."""
    async def main() -> Any:
        app = Starlette()
        mount(app, "/ask", lambda q: kx.source([1]), limits=Limits(slow=3))
        async with twin(app) as client:
            answer = client.open("/ask", "POST", [])
            await answer.until(10**9)
            return answer.status, anyio.current_time()

    assert virtual(main) == (422, 3)


def test_rates_and_connections_are_limited_for_one_and_for_all(virtual: Virtual, twin: Any, tokens: Any) -> None:
    """One more than allowed is 429 (or 503 for all together) with Retry-After; a stream that ends makes room."""
    async def main() -> Any:
        app = Starlette()
        mount(app, "/w", kx.source(tokens()), limits=Limits(streams=2, requests=5, seconds=10), max_clients=3)
        async with twin(app) as one:
            streams = [one.open("/w") for _ in range(3)]
            one.address = "10.0.0.2"
            await anyio.sleep(0.1)
            others = [one.open("/w") for _ in range(2)]
            await anyio.sleep(0.1)
            one.address = "10.0.0.1"
            statuses = [answer.status for answer in [*streams, *others]]
            next(a for a in streams if a.status == 200).gone.set()
            await anyio.sleep(0.1)
            again = one.open("/w")
            await anyio.sleep(0.1)
            rate = [(await one.ask("/w/x")).status for _ in range(2)]
            await anyio.sleep(2)
            return [sorted(statuses[:3]), sorted(statuses[3:]), again.status, *rate, (await one.ask("/w/x")).status,
                    {a.headers["retry-after"] for a in [*streams, *others] if a.status > 200}]

    assert virtual(main) == [[200, 200, 429], [200, 503], 200, 404, 429, 404, {"5"}]


def test_head_starts_nothing(virtual: Virtual, twin: Any, tokens: Any) -> None:
    """HEAD has the headers of GET, no body, and the source stays closed."""
    source = tokens()

    async def main() -> Any:
        app = Starlette()
        hub = mount(app, "/w", kx.source(source))
        async with twin(app) as client:
            return await client.ask("/w", "HEAD"), hub.clients

    answer, clients = virtual(main)
    assert (answer.status, answer.body, clients, source.opened) == (200, b"", 0, 0)
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_headers_go_at_once_and_heartbeats_keep_a_silent_stream_alive(virtual: Virtual, twin: Any, tokens: Any) -> None:
    """The first byte does not wait for the first event; then one heartbeat for each silent span."""
    async def main() -> Any:
        app = Starlette()
        mount(app, "/w", kx.source(tokens("ab", 35)), heartbeat=10)
        async with twin(app) as client:
            answer = client.open("/w")
            await anyio.sleep(0.01)
            early = answer.status, answer.body
            await answer.until(10**9)
            return early, answer.writes

    (status, body), writes = virtual(main)
    assert (status, body) == (200, b"retry: 1000\n\n")
    assert [w.count(b"heartbeat") for w in writes[:9]] == [0, 1, 1, 1, 0, 1, 1, 1, 0]


def test_a_client_that_takes_nothing_is_let_go(virtual: Virtual, twin: Any, tokens: Any) -> None:
    """After the send timeout, reported by its name, and its source is released; what waited was bounded."""
    source = tokens(["x" * 1000] * 10**6, 0.001)

    async def main() -> Any:
        app = Starlette()
        hub = mount(app, "/w", kx.source(source), on_disconnect="cancel", timeout=2, outbox=Outbox("drop_oldest", 16))
        async with twin(app) as client:
            answer = client.open("/w")
            await answer.until(3)
            answer.stalled = anyio.Event()
            await source.left.wait()
            return [(r.client, r.error.reason) for r in hub.reports], hub.clients, anyio.current_time()

    reports, clients, seconds = virtual(main)
    assert reports == [("10.0.0.1", "too slow")] and clients == 0 and 2 <= seconds < 3


def test_an_item_that_is_no_json_ends_that_stream_with_an_error(virtual: Virtual, twin: Any) -> None:
    """Its message names the type and the remedy, to the log; the client learns that it failed."""
    async def main() -> Any:
        app = Starlette()
        hub = mount(app, "/w", kx.source([1, float("nan"), 2]))
        async with twin(app) as client:
            return parsed((await client.ask("/w")).body), str(hub.reports[0].error)

    events, report = virtual(main)
    assert [e.get("event") for e in events] == ["error"] and "JSON" in report


def test_a_page_is_given_to_browsers_alone(virtual: Virtual, twin: Any) -> None:
    """With page=True HTML for a browser; it asks nothing of any other host; EventSource still gets events."""
    async def main() -> Any:
        app = Starlette()
        mount(app, "/", kx.source("ab").named("<i>letters"), page=True)
        async with twin(app) as client:
            return (await client.ask("/", accept="text/html,*/*"), await client.ask("/", accept="text/event-stream"),
                    await client.ask("/", accept="image/png"))

    page, events, none = virtual(main)
    text = page.body.decode()
    assert page.headers["content-type"].startswith("text/html") and "<svg" in text and "{{" not in text
    assert "http://" not in text.replace("http://www.w3.org", "") and "https://" not in text and "<i>" not in text
    assert parsed(events.body)[0]["data"] == "a" and none.status == 406


def test_shutdown_says_farewell_to_every_stream(virtual: Virtual, twin: Any, tokens: Any) -> None:
    """Draining ends each stream with its reason, refuses newcomers, and leaves no source open."""
    source = tokens()

    async def main() -> Any:
        app = Starlette()
        hub = mount(app, "/w", kx.source(source))
        async with twin(app) as client:
            answers = [client.open("/w") for _ in range(3)]
            await anyio.sleep(2.5)
            await hub.drain(1)
            late = await client.ask("/w")
            return [parsed(a.body)[-1]["data"] for a in answers], [a.over for a in answers], late.status

    assert virtual(main) == ([{"reason": "shutdown"}] * 3, [True] * 3, 503) and source.closed == 1


def test_bad_mounts_are_told_when_written() -> None:
    """GraphError names the option; an app whose lifespan does not run says so at the first request."""
    app = Starlette()
    for wrong in ({"path": "w"}, {"path": "/w", "timeout": 0}, {"path": "/w", "authorize": 7}, {"path": "/w", "x": 1}):
        with pytest.raises(kx.GraphError):
            mount(app, graph=kx.source([1]), **wrong)  # type: ignore[arg-type]
    with pytest.raises(kx.GraphError, match="options"):
        mount(app, "/w", Hub(kx.source([1])), linger=3)


FAILED = {"error": "failed", "message": "the stream has failed"}


@pytest.mark.parametrize(("fault", "status", "said", "traced"), [
    (KeyError("secret"), 500, {"type": "KeyError", **FAILED}, True),
    (kx.GraphError("no graph"), 500, {"type": "GraphError", **FAILED}, False),
    (HTTPException(404, "no such book"), 404, {"detail": "no such book"}, None)])
def test_a_graph_that_cannot_be_made_is_an_answer_and_a_line_in_the_log(
        virtual: Virtual, twin: Any, caplog: pytest.LogCaptureFixture, fault: Exception, status: int, said: Any,
        traced: bool | None) -> None:
    """The client learns the type, the log all; what the app itself knows how to answer is left to it."""
    def answers(prompt: str) -> Any:
        raise fault

    async def main() -> Any:
        app = FastAPI()
        mount(app, "/ask", answers)
        async with twin(app) as client:
            return await client.ask("/ask", "POST", b'"a"')

    answer = virtual(main)
    assert (answer.status, json.loads(answer.body)) == (status, said)
    assert [bool(record.exc_info and record.exc_info[0]) for record in caplog.records
            if record.name == "kayrx.serve.app"] == ([] if traced is None else [traced])

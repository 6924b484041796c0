"""WebSocket in process, on virtual time: requests, demand, steering, the door, and every way a socket ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette

import kayrx as kx
from kayrx.serve import Allowed, Limits, Outbox, mount

Virtual = Callable[[Any], Any]
AWKWARD = ["a\nb", "\r\n", "\0", "", "\u2028\x85", "\ud83d", "ß日本語", "\N{FAMILY}\ufe0f", "</s>", '"\\"', "\ufeff"]


def last(kind: str, id: str = "a") -> Callable[[list[dict[str, Any]]], bool]:
    """True once a message of this type has come for this request."""
    return lambda heard: any(m["type"] == kind and m.get("id") == id for m in heard)


def data(count: int) -> Callable[[list[dict[str, Any]]], bool]:
    return lambda heard: sum(m["type"] == "data" for m in heard) >= count


def test_any_text_arrives_as_it_was_with_its_place(virtual: Virtual, twin: Any) -> None:
    """Envelope {id, seq, type, data}; newlines, NUL and torn surrogates change nothing; the end is the last."""
    async def main() -> Any:
        app = Starlette()
        mount(app, "/words", kx.source(AWKWARD))
        async with twin(app) as client:
            talk = client.talk("/words/ws")
            talk.say({"type": "start", "id": "a"})
            return await talk.until(last("end"))

    started, *events = virtual(main)
    assert started["type"] == "started" and started["data"]["session"] == "shared"
    assert [(e["id"], e["seq"], e["data"]) for e in events[:-1]] == [("a", n + 1, t) for n, t in enumerate(AWKWARD)]
    assert events[-1] == {"id": "a", "seq": len(AWKWARD) + 1, "type": "end", "data": {"reason": "complete"}}


@pytest.mark.parametrize("grants", [(1, 2, 3, 2), (3, 1, 4), (8,), (0, 5, 3)])
@pytest.mark.parametrize("policy", ["disconnect", "conflate", "drop_oldest", "latest", "block"])
def test_no_more_items_come_than_were_asked_for(virtual: Virtual, twin: Any, grants: Any, policy: Any) -> None:
    """Credit, item by item, on any outbox; the end needs none, not even after the run has ended long before."""
    async def main() -> Any:
        app, seen = Starlette(), []
        mount(app, "/n", kx.source([{"n": n} for n in range(8)]), outbox=Outbox(policy, 16))
        async with twin(app) as client:
            talk = client.talk("/n/ws")
            talk.say({"type": "start", "id": "a", "credit": grants[0]})
            for grant in grants[1:]:
                await anyio.sleep(1)
                seen.append(len(talk.data()))
                talk.say({"type": "request", "id": "a", "n": grant})
            await anyio.sleep(1)
            return seen, talk.data()

    seen, heard = virtual(main)
    if policy == "latest":
        assert all(count <= sum(grants[:n + 1]) for n, count in enumerate(seen)) and {"reason": "complete"} in heard
        return
    assert seen == [sum(grants[:n + 1]) for n in range(len(seen))]
    assert heard == [*({"n": n} for n in range(8)), {"reason": "complete"}]


def test_who_asks_for_many_gets_what_is_there_in_one_message(virtual: Virtual, twin: Any) -> None:
    """An array of the same envelopes, within the demand."""
    async def main() -> Any:
        app = Starlette()
        mount(app, "/n", kx.source(range(100)))
        async with twin(app) as client:
            talk = client.talk("/n/ws")
            talk.say({"type": "start", "id": "a", "many": True, "credit": 10})
            await talk.until(lambda heard: len(flat(heard)) == 11)
            return [*talk.heard]

    def flat(heard: list[Any]) -> list[dict[str, Any]]:
        return [m for message in heard for m in (message if isinstance(message, list) else [message])]

    heard = virtual(main)
    assert [m["data"] for m in flat(heard)[1:]] == list(range(10)) and len(heard) < 6


def test_what_is_no_item_needs_no_demand(virtual: Virtual, twin: Any) -> None:
    """A retraction before the first demand, and a failure, come at once (rules 2.9, 2.10)."""
    async def source() -> Any:
        yield kx.Retract(1)
        yield "x"
        raise ValueError("no")

    async def main() -> Any:
        app = Starlette()
        mount(app, "/n", kx.source(source))
        async with twin(app) as client:
            talk = client.talk("/n/ws")
            talk.say({"type": "start", "id": "a", "credit": 0})
            await talk.until(last("retract"))
            await anyio.sleep(1)
            kinds = [m["type"] for m in talk.heard]
            talk.say({"type": "request", "id": "a", "n": 1})
            return kinds, [(m["type"], m["data"]) for m in await talk.until(last("error"))][2:]

    kinds, rest = virtual(main)
    assert kinds == ["started", "retract"]
    assert rest == [("data", "x"), ("error", {"type": "ValueError", "message": "the stream has failed"})]


def test_credit_reaches_the_source_of_ones_own_run(virtual: Virtual, twin: Any, tokens: Any) -> None:
    """A session of its own waits for its client: the source gives what was asked for and one outbox; the common run,
    which is everybody's, waits for nobody: who takes nothing is let go, and resumes from the log."""
    mine, common = tokens(seconds=0.01), tokens(seconds=0.01)

    async def main() -> Any:
        app = Starlette()
        mount(app, "/own", lambda n: kx.source(mine), outbox=Outbox("conflate", 16), heartbeat=None)
        mount(app, "/all", kx.source(common), outbox=Outbox("disconnect", 16), heartbeat=None,
              on_disconnect="continue")
        async with twin(app) as client:
            one, all_ = client.talk("/own/ws"), client.talk("/all/ws")
            one.say({"type": "start", "id": "a", "credit": 4})
            all_.say({"type": "start", "id": "a", "credit": 4})
            await anyio.sleep(60)
            run = all_.heard[0]["data"]["run"]
            all_.say({"type": "resume", "id": "b", "after": f"{run}-4", "credit": 3})
            await anyio.sleep(1)
            return mine.given, one.data(), all_.data(), all_.data("b")

    given, own, let_go, resumed = virtual(main)
    assert given <= 4 + 16 + 17 and own == [0, 1, 2, 3]
    assert let_go == [0, 1, 2, 3, {"reason": "too slow"}] and common.given > 4000
    assert resumed[1:] == [resumed[0] + 1, resumed[0] + 2, {"reason": "too slow"}]


def test_many_requests_share_a_socket_and_none_disturbs_another(virtual: Virtual, twin: Any, tokens: Any) -> None:
    """Four at once: one cancelled while it is sent, one stopped, one that fails, one that runs to its end."""
    sources: list[Any] = []

    def make(kind: str) -> Any:
        sources.append(tokens([1, 2, 3, 4], 1.0))
        graph = kx.source(sources[-1])
        return graph >> kx.map(lambda n: n // (n - 3) if kind == "fail" else n)

    async def main() -> Any:
        app = Starlette()
        mount(app, "/ask", make)
        async with twin(app) as client:
            talk = client.talk("/ask/ws")
            for id in ("whole", "fail", "cancel", "stop"):
                talk.say({"type": "start", "id": id, "data": id})
            await anyio.sleep(2.5)
            talk.say({"type": "cancel", "id": "cancel"})
            talk.say({"type": "stop", "id": "stop"})
            await anyio.sleep(9)
            late = await talk.ask(type="request", id="stop", n=1)
            return {id: talk.data(id) for id in ("whole", "fail", "cancel", "stop")}, late

    ends, late = virtual(main)
    assert ends["whole"] == [1, 2, 3, 4, {"reason": "complete"}] and ends["fail"][-1]["type"] == "ZeroDivisionError"
    assert ends["cancel"] == [1, 2, {"reason": "cancelled"}] and ends["stop"] == [1, 2, {"reason": "stopped"}]
    assert late["data"]["error"] == "no session" and all(source.closed for source in sources)


@pytest.mark.parametrize("cut", range(0, 12, 3))
def test_resume_goes_on_without_gap_or_duplicate(virtual: Virtual, twin: Any, tokens: Any, cut: int) -> None:
    """By run-seq on another socket, in mid-run, after the end, and detached; a strange cursor gets one resync."""
    async def main() -> Any:
        app = Starlette()
        mount(app, "/ask", lambda n: kx.source(tokens(range(n), 0.1)), on_disconnect="cancel")
        async with twin(app) as client:
            first = client.talk("/ask/ws")
            first.say({"type": "start", "id": "a", "data": 12})
            first.say({"type": "detach", "id": "a"})
            await first.until(lambda heard: last("detached")(heard) and last("started")(heard))
            await first.until(data(cut))
            started = next(m["data"] for m in first.heard if m["type"] == "started")
            session, run = started["session"], started["run"]
            first.leave()
            await first.over.wait()
            seen = [m for m in first.heard if m["type"] == "data"]
            after = f"{run}-{seen[-1]['seq']}" if seen else 0
            second = client.talk("/ask/ws")
            second.say({"type": "resume", "id": "a", "session": session, "after": after})
            await second.until(last("end"))
            third = client.talk("/ask/ws")
            third.say({"type": "resume", "id": "a", "session": session, "after": f"{run}-13"})
            third.say({"type": "resume", "id": "b", "session": session, "after": "else\0-1"})
            await third.until(lambda heard: last("end")(heard) and last("end", "b")(heard))
            return ([m["data"] for m in seen] + second.data(), third.data(),
                    [m["type"] for m in third.heard if m.get("id") == "b"], third.data("b"))

    whole, ended, kinds, replayed = virtual(main)
    assert whole == replayed == [*range(12), {"reason": "complete"}] and ended == [{"reason": "complete"}]
    assert kinds[:2] == ["started", "resync"] and kinds.count("resync") == 1


def test_the_sessions_of_others_do_not_exist(virtual: Virtual, twin: Any, tokens: Any) -> None:
    """An attack with a true id: the same words as for an id that never was; the common run is steered by none."""
    async def main() -> Any:
        app = Starlette()
        mount(app, "/ask", lambda n: kx.source(tokens("secret")), authorize=lambda request: request.headers["who"])
        mount(app, "/all", kx.source(tokens("x" * 99)))
        async with twin(app) as client:
            hers, his = client.talk("/ask/ws", who="her"), client.talk("/ask/ws", who="him")
            common = client.talk("/all/ws")
            hers.say({"type": "start", "id": "a"})
            await hers.until(data(2))
            session = hers.heard[0]["data"]["session"]
            told = [await his.ask(type="resume", id="a", session=id, after=after)
                    for id in (session, "x" * 43, "shared", "", 7, None) for after in (0, "x-1")]
            common.say({"type": "start", "id": "a"})
            await common.until(data(2))
            return told, [(await common.ask(type=verb, id="a"))["data"] for verb in ("stop", "detach")], his.heard

    told, steered, heard = virtual(main)
    assert len({str(m) for m in told}) == 1 and told[0]["data"]["error"] == "no session" and len(heard) == len(told)
    assert [m["error"] for m in steered] == ["forbidden"] * 2


BAD = [
    {"type": "start"}, {"type": "start", "id": 7}, {"type": "start", "id": "x" * 65},
    {"type": "x", "id": "b"}, {"type": ["start"], "id": "b"}, {"type": "start", "id": "a"},
    {"type": "start", "id": "b", "credit": -1},
    {"type": "start", "id": "b", "credit": True}, {"type": "start", "id": "b", "after": [1]},
    {"type": "request", "id": "a", "n": 0}, {"type": "request", "id": "a", "n": 1.5}, {"type": "request", "id": "a"},
    {"type": "request", "id": "a", "n": 1 << 70}, {"type": "request", "id": "b", "n": 1}, {"type": "cancel", "id": "b"},
    {"type": "start", "id": "b", "data": "no number"}]


@pytest.mark.parametrize("message", BAD, ids=str)
def test_a_message_that_makes_no_sense_changes_nothing(virtual: Virtual, twin: Any, tokens: Any, message: Any) -> None:
    """It is refused with a reason, and the request that runs goes on."""
    async def main() -> Any:
        app = Starlette()
        mount(app, "/ask", lambda n: kx.source(tokens(range(n))), inputs=int)
        async with twin(app) as client:
            talk = client.talk("/ask/ws")
            talk.say({"type": "start", "id": "a", "data": 3})
            await talk.until(data(1))
            refused = await talk.ask(**message)
            await talk.until(last("end"))
            return refused, talk.data()

    refused, heard = virtual(main)
    assert refused["type"] == "refused" and refused["data"]["error"] in ("invalid", "no session")
    assert heard == [0, 1, 2, {"reason": "complete"}]


@pytest.mark.parametrize(("message", "code"), [
    ("{", 1007), ("[]", 1007), ('"start"', 1007), ("[" * 9000, 1007), ("NaN", 1007), (b"{}", 1003),
    ("x" * 10_001, 1009)])
def test_a_message_that_is_none_closes_the_socket(virtual: Virtual, twin: Any, tokens: Any, message: Any,
                                                  code: int) -> None:
    """With the code that says why; what ran on it is released."""
    source = tokens()

    async def main() -> Any:
        app = Starlette()
        hub = mount(app, "/n", kx.source(source), limits=Limits(body=10_000), on_disconnect="cancel")
        async with twin(app) as client:
            talk = client.talk("/n/ws")
            talk.say({"type": "start", "id": "a"})
            await talk.until(data(2))
            talk.say(message)
            await talk.over.wait()
            await source.left.wait()
            return talk.code, hub.clients

    assert virtual(main) == (code, 0)


async def owner(request: Any) -> Any:
    match request.headers.get("who"):
        case None:
            return None
        case "raise":
            raise LookupError("secret")
        case "hang":
            await anyio.sleep_forever()
        case who:
            return who


@pytest.mark.parametrize(("headers", "status", "seconds"), [
    ({"who": "me"}, 0, 0), ({"who": "me", "origin": "http://here"}, 0, 0),
    ({"who": "me", "origin": "https://friend.example"}, 0, 0),
    ({"who": "me", "origin": "null"}, 403, 0), ({"who": "me", "origin": "http://here.evil.example"}, 403, 0),
    ({"who": "me", "origin": "https://friend.example.evil"}, 403, 0),
    ({"who": "me", "origin": "http://evilhere"}, 403, 0),
    ({"who": "me", "origin": "https://evil/https://friend.example"}, 403, 0),
    ({"who": "me", "origin": "https://friend.example/"}, 403, 0), ({"who": "me", "origin": "http://here@evil"}, 403, 0),
    ({"who": "me", "origin": "http://HERE:80"}, 0, 0), ({"who": "me", "origin": "HTTP://here"}, 403, 0),
    ({"who": "me", "origin": "http://here:0"}, 403, 0), ({"who": "me", "host": "[here"}, 403, 0),
    ({"who": "me", "origin": "ws://here:81"}, 403, 0), ({"who": "me", "origin": ""}, 403, 0),
    ({"who": "me", "host": "rebound.example", "origin": "http://rebound.example"}, 403, 0),
    ({}, 403, 0), ({"who": "raise"}, 403, 0), ({"who": "hang"}, 403, 5)])
def test_the_door_is_closed_before_the_socket_is_accepted(virtual: Virtual, twin: Any, headers: Any, status: int,
                                                          seconds: float) -> None:
    """Foreign origins by any trick, and a hook that says no, raises or hangs: 403, and no graph was made."""
    made: list[Any] = []

    async def main() -> Any:
        app = Starlette()
        mount(app, "/ask", lambda n: made.append(n), authorize=owner, origins=["https://friend.example"],
              hosts=["here"])
        async with twin(app) as client:
            talk = client.talk("/ask/ws", **headers)
            if status:
                await talk.over.wait()
            else:
                talk.say({"type": "ping"})
                await talk.until(len)
            return talk.status, bool(talk.heard), anyio.current_time()

    assert virtual(main) == (status, not status, seconds) and made == []


def test_a_login_that_expires_closes_the_socket(virtual: Virtual, twin: Any, tokens: Any) -> None:
    """Each request is told so, then 3000; who comes in again resumes."""
    async def main() -> Any:
        app = Starlette()
        mount(app, "/n", kx.source(tokens(range(4))), authorize=lambda request: Allowed("me", 2.5))
        async with twin(app) as client:
            first = client.talk("/n/ws")
            first.say({"type": "start", "id": "a"})
            await first.over.wait()
            second = client.talk("/n/ws")
            second.say({"type": "resume", "id": "a", "after": first.heard[-2]["seq"]})
            await second.until(last("end"))
            return first.code, first.data() + second.data()

    assert virtual(main) == (3000, [0, 1, {"reason": "expired"}, 2, 3, {"reason": "complete"}])


@pytest.mark.parametrize("answers", [True, False])
def test_a_peer_that_is_silent_for_two_heartbeats_is_gone(virtual: Virtual, twin: Any, tokens: Any,
                                                          answers: bool) -> None:
    """Pings only where it is silent; who answers stays, who does not is closed and its run released."""
    source = tokens("ab", 100)

    async def main() -> Any:
        app = Starlette()
        mount(app, "/n", kx.source(source), heartbeat=10, on_disconnect="cancel")
        async with twin(app) as client:
            talk = client.talk("/n/ws")
            talk.say({"type": "start", "id": "a"})
            while not talk.over.is_set() and not talk.data():
                await talk.more.wait()
                if answers and talk.heard and talk.heard[-1]["type"] == "ping":
                    talk.say({"type": "pong"})
            return talk.code, len(talk.heard), anyio.current_time()

    code, heard, seconds = virtual(main)
    assert (code, seconds) == ((0, 100) if answers else (3008, 20)) and heard in ((11, 12) if answers else (2,))
    assert answers or source.closed == 1


def test_a_client_that_takes_nothing_is_cut_off(virtual: Virtual, twin: Any, tokens: Any) -> None:
    """After the send timeout: reported by its name, its run released, and a ping is answered by nobody meanwhile."""
    source = tokens(["x" * 1000] * 10**6, 0.001)

    async def main() -> Any:
        app = Starlette()
        hub = mount(app, "/n", kx.source(source), on_disconnect="cancel", timeout=2, outbox=Outbox("drop_oldest", 16))
        async with twin(app) as client:
            talk = client.talk("/n/ws")
            talk.say({"type": "start", "id": "a"})
            await talk.until(data(3))
            talk.ready = anyio.Event()
            talk.say({"type": "ping"})
            await source.left.wait()
            return [(r.client, r.error.reason) for r in hub.reports], hub.clients, anyio.current_time()

    reports, clients, seconds = virtual(main)
    assert reports == [("10.0.0.1", "too slow")] and clients == 0 and 2 <= seconds < 3


def test_pings_are_answered_and_cancel_is_read_while_sending(virtual: Virtual, twin: Any) -> None:
    """Under a source that never waits."""
    def hot() -> Any:
        while True:
            yield "x"

    async def main() -> Any:
        app = Starlette()
        mount(app, "/ask", lambda n: kx.source(hot))
        async with twin(app) as client:
            talk = client.talk("/ask/ws")
            talk.say({"type": "start", "id": "a"})
            await talk.until(data(1000))
            talk.say({"type": "ping", "data": [1]})
            await talk.until(lambda heard: any(m["type"] == "pong" for m in heard))
            talk.say({"type": "cancel", "id": "a"})
            await talk.until(last("end"))
            return next(m for m in talk.heard if m["type"] == "pong"), talk.data()[-1]

    assert virtual(main) == ({"type": "pong", "data": [1]}, {"reason": "cancelled"})


def test_shutdown_ends_each_request_and_then_the_socket(virtual: Virtual, twin: Any, tokens: Any) -> None:
    """`end` with reason shutdown, then 1001, idle sockets too; who comes later is refused with 503."""
    async def main() -> Any:
        app = Starlette()
        hub = mount(app, "/n", kx.source(tokens()))
        async with twin(app) as client:
            busy, idle = client.talk("/n/ws"), client.talk("/n/ws")
            busy.say({"type": "start", "id": "a"})
            await busy.until(data(2))
            await hub.drain(1)
            await busy.over.wait()
            await idle.over.wait()
            late = client.talk("/n/ws")
            await late.over.wait()
            return busy.data()[-1], busy.code, idle.code, late.status

    assert virtual(main) == ({"reason": "shutdown"}, 1001, 1001, 503)


def test_sockets_requests_and_rates_are_limited(virtual: Virtual, twin: Any, tokens: Any) -> None:
    """One socket, one request on it, one message more than allowed: refused, and the others go on."""
    async def main() -> Any:
        app = Starlette()
        mount(app, "/n", kx.source(tokens()), limits=Limits(streams=2, requests=9, seconds=90))
        async with twin(app) as client:
            talks = [client.talk("/n/ws") for _ in range(3)]
            await anyio.sleep(0.1)
            one, two, three = sorted(talks, key=lambda talk: talk.status)    # trio lets in any two
            for id in "abc":
                one.say({"type": "start", "id": id})
            await anyio.sleep(1.5)
            told = [m["data"]["error"] for m in one.heard if m["type"] == "refused"]
            one.say({"type": "cancel", "id": "a"})
            await one.until(last("end"))
            again = await one.ask(type="start", id="d")
            rest = [(await two.ask(type="cancel", id="x"))["data"]["error"] for _ in range(3)]
            return [t.status for t in (one, two, three)], told, again["type"], rest

    statuses, told, again, rest = virtual(main)
    assert statuses == [0, 0, 429] and told == ["too many"] and again in ("started", "data")
    assert rest[0] == "no session" and rest[-1] == "too many"


def test_a_fault_of_the_author_is_told_to_one_request(virtual: Virtual, twin: Any, tokens: Any) -> None:
    """A graph that cannot be made and an item that is no JSON end their request; the socket goes on."""
    def make(kind: str) -> Any:
        if kind == "broken":
            raise LookupError("secret")
        return kx.source([object() if kind == "object" else kind])

    async def main() -> Any:
        app = Starlette()
        hub = mount(app, "/ask", make)
        async with twin(app) as client:
            talk = client.talk("/ask/ws")
            for id in ("broken", "object", "good"):
                talk.say({"type": "start", "id": id, "data": id})
            await talk.until(last("end", "good"))
            await talk.until(last("error", "object"))
            await anyio.sleep(0.1)
            return talk.data("broken"), talk.data("object")[-1]["type"], talk.data("good"), hub.clients

    broken, unsent, good, clients = virtual(main)
    assert broken == [{"type": "LookupError", "message": "the stream has failed"}] and unsent == "TypeError"
    assert good == ["good", {"reason": "complete"}] and clients == 0

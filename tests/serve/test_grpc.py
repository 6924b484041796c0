"""A call of the gRPC service on virtual time: the other end of its wire is the test, so no gRPC and no socket."""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any

import anyio
import pytest

import kayrx as kx
from kayrx.serve import Allowed, Hub, Limits, Outbox, told
from kayrx.serve.grpc_call import Call, Service
from kayrx.serve.grpc_terms import Ending, Gone
from kayrx.serve.grpc_wire import TYPES, UNLIMITED, VERBS, Ask, Events

Virtual = Callable[[Any], Any]


class Far:
    """The other end of a call: what it says is queued, what it hears is kept; ``stalled``: it takes nothing."""

    def __init__(self, **metadata: str) -> None:
        self.host = "10.0.0.1"
        self.metadata: Mapping[str, str] = {key.replace("_", "-"): value for key, value in metadata.items()}
        self.begun: Mapping[str, str] = {}
        self.events: list[tuple[int, str, Any]] = []
        self.ids: list[str] = []
        self.more = anyio.Event()
        self.stalled = self.gone = False
        self.asked: deque[bytes | None] = deque()
        self.heard = anyio.Event()
        self.ending: Ending | None = None
        self.over = anyio.Event()

    async def begin(self, metadata: Mapping[str, str]) -> None:
        self.begun = metadata

    async def read(self) -> bytes | None:
        while not self.asked:
            self.heard = anyio.Event()
            await self.heard.wait()
        return self.asked.popleft()

    async def write(self, data: bytes) -> None:
        if self.gone:
            raise Gone
        if self.stalled:
            await anyio.sleep_forever()
        for event in Events.FromString(data).events:
            self.events.append((event.seq, TYPES[event.type], json.loads(event.data or "null")))
            self.ids.append(event.id)
        self.more.set()
        self.more = anyio.Event()

    def say(self, **ask: Any) -> Far:
        return self.raw(Ask(**ask).SerializeToString())

    def raw(self, data: bytes | None) -> Far:
        """Bytes; None: it will say no more."""
        self.asked.append(data)
        self.heard.set()
        return self

    @property
    def data(self) -> list[Any]:
        return [data for _, kind, data in self.events if kind == "data"]

    async def until(self, count: int) -> None:
        while len(self.data) < count:
            await self.more.wait()

    async def call(self, service: Service) -> Ending:
        """The whole call, in this task."""
        call = Call(service, self)
        try:
            self.ending = await call.run()
            return self.ending
        finally:
            call.close()
            self.over.set()


def numbers(tokens: Any, count: int = 20, seconds: float = 0.01) -> Any:
    return kx.source(tokens(range(count), seconds))


@pytest.mark.parametrize("policy", [None, "block", "conflate", "drop_oldest"])
@pytest.mark.parametrize("seed", range(4))
def test_no_more_comes_than_was_asked_for(virtual: Virtual, tokens: Any, seed: int, policy: Any) -> None:
    """Rules 1.1, 3.8, 3.17: demand adds up, holds at every instant, may be endless; a terminal needs none (1.5)."""
    wishes = [random.Random(seed).randrange(1, 6) for _ in range(5)]

    async def main() -> list[int]:
        async with Hub(lambda q: numbers(tokens, 60)) as hub, anyio.create_task_group() as group:
            far, counts = Far().say(input="7"), []
            group.start_soon(far.call, Service(hub=hub, outbox=policy))
            for wish in wishes:
                far.say(request=wish)
                await anyio.sleep(0.1)
                counts.append(len(far.data))
            far.say(request=UNLIMITED)
            await far.over.wait()
            assert far.events[-1][1:] == ("end", {"reason": "complete"}) and far.ending == Ending("OK", "", "complete")
            if policy in (None, "block"):
                assert far.data == list(range(60))
            far.events.clear()    # read again, with no demand at all: the terminal alone
            again = Far(**{"kayrx-session": far.begun["kayrx-session"], "kayrx-after": far.ids[-2]})
            await again.call(Service(hub=hub))
            assert [kind for _, kind, _ in again.events] == ["end"]
            return counts

    counts = virtual(main)
    assert all(count <= bound for count, bound in zip(counts, accumulate(wishes), strict=True)) and counts[-1] > 0


def test_the_run_waits_for_the_demand_of_its_own_client(virtual: Virtual, tokens: Any) -> None:
    """Back-pressure crosses the wire: of a source of any length no more is read than was asked for, and a bound."""
    async def main() -> tuple[int, int]:
        source = tokens(seconds=0.001)
        async with Hub(lambda q: kx.source(source), outbox=Outbox(items=8)) as hub:
            far = Far().say(input="1", request=10)
            async with anyio.create_task_group() as group:
                group.start_soon(far.call, Service(hub=hub, outbox=Outbox("block", items=8)))
                await anyio.sleep(60)
                group.cancel_scope.cancel()
            return len(far.data), source.given

    given, read = virtual(main)
    assert given == 10 and 10 <= read <= 10 + 8 + 2 * 16


async def hooked(request: Any) -> Any:
    """A hook that sees the metadata as headers, and fails in every way."""
    match request.headers.get("authorization"):
        case "raise":
            raise LookupError("secret")
        case "hang":
            await anyio.sleep_forever()
        case "short":
            return Allowed("me", 0.5)
        case who:
            return who


REFUSED: dict[str, tuple[dict[str, str], list[dict[str, Any] | bytes], str, str]] = {
    "request 0": ({}, [{"input": "1"}, {"request": 0}], "INVALID_ARGUMENT", "rule 3.9"),
    "request -1": ({}, [{"input": "1", "request": -1}], "INVALID_ARGUMENT", "rule 3.9"),
    "garbage": ({}, [b"\xff\xff\xff"], "INVALID_ARGUMENT", "no kayrx.v1.Ask"),
    "garbage later": ({}, [{"input": "1"}, b"\x0a\xff"], "INVALID_ARGUMENT", "no kayrx.v1.Ask"),
    "input twice": ({}, [{"input": "1"}, {"input": "2"}], "INVALID_ARGUMENT", "comes first, once"),
    "no verb": ({}, [{"input": "1"}, {"verb": 9}], "INVALID_ARGUMENT", "no verb 9"),
    "negative verb": ({}, [{"input": "1"}, {"verb": -3}], "INVALID_ARGUMENT", "no verb -3"),
    "no input": ({}, [{"request": 1}], "INVALID_ARGUMENT", "no input"),
    "no JSON": ({}, [{"input": "{"}], "INVALID_ARGUMENT", "not JSON"),
    "against the schema": ({}, [{"input": '"x"'}], "INVALID_ARGUMENT", "refused: invalid literal"),
    "too large": ({}, [{"input": '"' + "x" * 70_000 + '"'}], "RESOURCE_EXHAUSTED", "larger than 65536 bytes"),
    "silence": ({}, [], "INVALID_ARGUMENT", "within 10 seconds"),
    "unknown session": ({"kayrx-session": "x" * 43}, [], "NOT_FOUND", "no such session"),
    "shared where there is none": ({"kayrx-session": "shared"}, [], "NOT_FOUND", "no such session"),
    "no name": ({"authorization": ""}, [], "UNAUTHENTICATED", "not allowed"),
    "a hook that raises": ({"authorization": "raise"}, [], "PERMISSION_DENIED", "not allowed"),
    "a hook that hangs": ({"authorization": "hang"}, [], "PERMISSION_DENIED", "not allowed"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_gets_a_status_and_starts_nothing(virtual: Virtual, tokens: Any, name: str) -> None:
    """Each with its own status and words; nothing is left, and other clients never notice (2.13)."""
    metadata, says, status, words = REFUSED[name]

    async def main() -> Ending:
        async with Hub(lambda q: numbers(tokens, q)) as hub, anyio.create_task_group() as group:
            service = Service(hub=hub, inputs=int, authorize=hooked)
            sibling = Far(authorization="her").say(input="30", request=UNLIMITED)
            group.start_soon(sibling.call, service)
            await sibling.until(1)
            given = {"authorization": "me", **metadata}
            far = Far(**{key: value for key, value in given.items() if value})
            for each in says:
                far.raw(each) if isinstance(each, bytes) else far.say(**each)
            ending = await far.call(service)
            await sibling.over.wait()
            assert sibling.data == list(range(30)) and sibling.ending == Ending("OK", "", "complete")
            assert hub.clients == 0 and service.counters.open == {} and "end" not in [kind for _, kind, _ in far.events]
            return ending

    ending = virtual(main)
    assert ending.status == status and words in ending.text and "secret" not in ending.text


def test_the_session_of_another_is_none(virtual: Virtual, tokens: Any) -> None:
    """An attack with a true id, and a replay of it, look like an id that never was."""
    async def main() -> Any:
        async with Hub(lambda q: numbers(tokens)) as hub, anyio.create_task_group() as group:
            service = Service(hub=hub, authorize=hooked)
            hers = Far(authorization="her").say(input="1", request=3)
            group.start_soon(hers.call, service)
            await hers.until(3)
            id = hers.begun["kayrx-session"]
            endings = [await Far(authorization=who, **metadata).say(request=9, verb=VERBS.index("stop")).call(service)
                       for who, metadata in (("him", {"kayrx-session": id}), ("her", {"kayrx-session": "x" * 43}),
                                             ("him", {"kayrx-session": id, "kayrx-after": hers.ids[0]}))]
            assert hub.session(id, owner="her").state == "running"
            group.cancel_scope.cancel()
            return set(endings)

    assert virtual(main) == {Ending("NOT_FOUND", "there is no such session", "no session")}


def failing(x: int) -> float:
    return 1 / (3 - x)


ENDS: dict[str, tuple[str, str]] = {
    "complete": ("OK", ""), "stop": ("OK", ""), "cancel": ("CANCELLED", "at the client's wish"),
    "fail": ("INTERNAL", "ZeroDivisionError: division by zero\nkayrx: in node 'failing' (map)"),
    "drain": ("UNAVAILABLE", "the run has ended: shutdown"), "server": ("UNAVAILABLE", "the server is closing"),
    "expire": ("UNAUTHENTICATED", "come back"), "stall": ("RESOURCE_EXHAUSTED", "took nothing for 10 seconds"),
    "outbox": ("RESOURCE_EXHAUSTED", "outbox was full"), "gone": ("CANCELLED", "the client has gone"),
    "unwritable": ("INTERNAL", "TypeError: object cannot be written as JSON"),
}


@pytest.mark.parametrize("how", ENDS)
def test_each_end_has_its_status_once(virtual: Virtual, tokens: Any, how: str) -> None:
    """Rule 1.7: one terminal at most and nothing after it; the status says how, the farewell event why."""
    async def main() -> tuple[Far, float]:
        items = {"fail": range(9), "complete": range(9), "unwritable": [1, object()]}.get(how, range(10**6))
        graph = kx.source(tokens(items, 0.1)) >> kx.map(failing if how == "fail" else lambda x: x)
        async with Hub(lambda q: graph, describe=told) as hub, anyio.create_task_group() as group:
            service = Service(hub=hub, authorize=hooked, outbox=Outbox(items=8) if how == "outbox" else None)
            far = Far(authorization="short" if how == "expire" else "me").say(input="1", request=UNLIMITED if how != (
                "outbox") else 1)
            group.start_soon(far.call, service)
            await far.until(1)
            if how in ("stop", "cancel"):
                far.say(verb=VERBS.index(how))
            elif how == "drain":
                await hub.drain()
            elif how == "server":
                service.closing.set()
            far.stalled, far.gone = how == "stall", how == "gone"
            await far.over.wait()
            group.cancel_scope.cancel()
            assert hub.clients == 0 and service.counters.open == {}
            return far, anyio.current_time()

    far, at = virtual(main)
    status, words = ENDS[how]
    assert far.ending is not None and far.ending.status == status and words in far.ending.text
    terminals = [(kind, data.get("reason") or data["type"]) for _, kind, data in far.events if kind in ("end", "error")]
    assert terminals == {
        "complete": [("end", "complete")], "stop": [("end", "stopped")], "fail": [("error", "ZeroDivisionError")],
        "drain": [("end", "shutdown")], "server": [("end", "shutdown")], "expire": [("end", "expired")],
        "unwritable": [("error", "TypeError")], "outbox": [("end", "too slow")]}.get(how, [])
    assert not terminals or far.events[-1][1] in ("end", "error")
    assert at < 20


@pytest.mark.parametrize("cut", range(0, 20, 3))
def test_a_cut_call_is_resumed_without_gap_or_duplicate(virtual: Virtual, tokens: Any, cut: int) -> None:
    """By session and id from the metadata, while the run went on without clients; a foreign cursor gets a resync."""
    async def main() -> tuple[list[Any], list[Any]]:
        async with Hub(lambda q: numbers(tokens)) as hub, anyio.create_task_group() as group:
            service, far = Service(hub=hub), Far().say(input="1", request=UNLIMITED)

            async def first() -> None:
                with anyio.CancelScope() as scope:
                    far.scope = scope    # type: ignore[attr-defined]
                    await far.call(service)
            group.start_soon(first)
            await far.until(cut)
            await anyio.sleep(0)
            far.scope.cancel()    # type: ignore[attr-defined]
            await far.over.wait()
            seen = len(far.data)
            await anyio.sleep(0.05)
            session = far.begun.get("kayrx-session") or next(iter(hub.sessions))
            rest = Far(**{"kayrx-session": session, **({"kayrx-after": far.ids[seen - 1]} if seen else {})})
            await rest.say(request=UNLIMITED).call(service)
            stale = Far(**{"kayrx-session": session, "kayrx-after": "elsewhere-3"})
            await stale.say(request=UNLIMITED).call(service)
            return far.data[:seen] + rest.data, stale.events[:2]

    data, stale = virtual(main)
    assert data == list(range(20))
    assert stale == [(0, "resync", {"after": "elsewhere-3", "next": 1}), (1, "data", 0)]


def test_an_idle_call_has_heartbeats_and_a_retraction_needs_no_demand(virtual: Virtual) -> None:
    """With demand and without, from before the first item on."""
    async def slow() -> Any:
        await anyio.sleep(2.5)
        yield "a"
        yield kx.Retract(1)
        await anyio.sleep(1.2)
        yield "b"

    async def main() -> list[Any]:
        async with Hub(kx.source(slow)) as hub, anyio.create_task_group() as group:
            far = Far().say(request=1)
            group.start_soon(far.call, Service(hub=hub, heartbeat=1.0))
            await anyio.sleep(7)
            far.say(request=1)
            await far.over.wait()
            return [(kind, data) for _, kind, data in far.events]

    heard = virtual(main)
    assert [each for each in heard if each[0] != "heartbeat"] == [
        ("data", "a"), ("retract", {"after": 0}), ("data", "b"), ("end", {"reason": "complete"})]
    assert [kind for kind, _ in heard[:3]] == ["heartbeat", "heartbeat", "data"] and len(heard) > 6


def test_detach_and_resume_decide_whether_the_run_outlives_its_client(virtual: Virtual, tokens: Any) -> None:
    """Both over the wire; the common run is not steered but with ``control``."""
    async def main() -> list[Any]:
        async with Hub(lambda q: numbers(tokens, 100, 0.1), on_disconnect="cancel") as hub:
            out: list[Any] = []
            for verbs in ([], ["detach"], ["detach", "resume"]):
                far = Far().say(input="1", request=1)
                for verb in verbs:
                    far.say(verb=VERBS.index(verb))
                far.raw(None)    # nothing more is said: with its demand the call is over, and that is no end
                out.append((await far.call(Service(hub=hub))).text or far.data)
                await anyio.sleep(0.5)
                out.append(hub.session(far.begun["kayrx-session"]).state)
        async with Hub(numbers(tokens, 100, 0.1)) as hub:
            for control in (False, True):
                out.append((await Far().say(verb=1).call(Service(hub=hub, control=control))).status)
        return out

    assert virtual(main) == [[0], "cancelled", [0], "running", [0], "cancelled", "PERMISSION_DENIED", "OK"]


def test_a_client_has_so_many_calls_and_no_more(virtual: Virtual, tokens: Any) -> None:
    """Open at once, and in a time; a place is free again when its call is really over."""
    async def main() -> list[str]:
        async with Hub(numbers(tokens, 10**6)) as hub, anyio.create_task_group() as group:
            service = Service(hub=hub, limits=Limits(streams=2, requests=5, seconds=1000))
            for _ in range(2):
                group.start_soon(Far().say(request=1).call, service)
            await anyio.sleep(1)
            out = [(await Far().say(request=1).call(service)).text for _ in range(4)]
            group.cancel_scope.cancel()
            return out

    assert virtual(main) == ["more than 2 streams at once"] * 3 + ["more than 5 requests in 1000 seconds"]

"""What one client may take of what is there for all, whatever it speaks."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette

import kayrx as kx
from kayrx.serve import Hub, Limits, mount
from kayrx.serve.grpc_call import Call, Service
from kayrx.serve.limits import Counters
from tests.serve.test_grpc import Far

Virtual = Callable[[Any], Any]
AWKWARD = ["a\nb", "a\rb", "\r\n", "\0", "", "data: x\n\nevent: end", "id: 7", "\u2028\x85", "\ud83d", "ß日本語",
           "\ufeff", '"\\"']


@pytest.mark.parametrize("protocol", ["http", "websocket", "grpc"])
def test_nobody_takes_the_sessions_of_all(virtual: Virtual, twin: Any, tokens: Any, protocol: str) -> None:
    """Left alone and detached they go on, so they are counted until they end, and not by who has them open."""
    limits = Limits(sessions=2, slow=1)

    async def main() -> Any:
        app = Starlette()
        async with Hub(lambda q: kx.source(tokens()), max_sessions=5, linger=30, on_disconnect="continue") as hub:
            service = Service(hub=hub, limits=limits)
            mount(app, "/ask", hub, limits=limits)
            app.router.lifespan_context = Starlette().router.lifespan_context    # the hub is open already
            async with twin(app) as client:
                async def start(address: str) -> Any:
                    """None, or the reason of a refusal."""
                    client.address = address
                    if protocol == "http":
                        told = json.loads((await client.ask("/ask", "POST", b"1")).body)
                        return told.get("error")
                    if protocol == "websocket":
                        talk = client.talk("/ask/ws")
                        told = await talk.ask(type="start", id="a")
                        talk.leave()
                        return told["data"].get("error")
                    far = Far().say(input="1", request=1).raw(None)
                    far.host = address
                    with anyio.move_on_after(3):
                        return (await Call(service, far).run()).reason or None

                first = [await start("10.0.0.1") for _ in range(3)]
                other = [await start("10.0.0.2") for _ in range(2)]
                await next(iter(hub.sessions.values())).stop()
                again = await start("10.0.0.1"), await start("10.0.0.1")
                return first, other, again

    first, other, again = virtual(main)
    none = "no more was asked for" if protocol == "grpc" else None    # it has said so, and the run goes on
    assert first == [none, none, "too many"] and other == [none, none] and again == (none, "too many")


@pytest.mark.parametrize("detached", [False, True])
def test_a_session_that_was_posted_and_is_never_read_is_let_go(virtual: Virtual, twin: Any, tokens: Any, detached: bool
                                                               ) -> None:
    """After ``linger`` seconds it is given up, after as many more it is forgotten; its source was never opened."""
    source = tokens()

    async def main() -> Any:
        app = Starlette()
        hub = mount(app, "/ask", lambda q: kx.source(source), linger=10)
        async with twin(app) as client:
            url = json.loads((await client.ask("/ask", "POST", b"1")).body)["events"]
            if detached:
                await client.ask(f"{url}/detach", "POST")
            states = list[Any]()
            for seconds in (9, 2, 8, 2):
                await anyio.sleep(seconds)
                states.append(json.loads((await client.ask(f"{url}/state")).body).get("state"))
            return states, len(hub.sessions)

    assert virtual(main) == (["waiting", "cancelled", "cancelled", None], 0) and source.opened == 0


def test_sessions_that_the_hub_has_forgotten_are_not_held() -> None:
    """And clients that have none take no place."""
    class Ended:
        def __init__(self) -> None:
            self.ended = anyio.Event()

    counters = Counters(Limits(sessions=1), lambda: 0.0)
    for number in range(10_500):
        counters.begin(str(number), Ended)    # nobody holds it but the set, weakly
    gc.collect()
    counters.begin("last", Ended)
    assert len(counters._own) < 600


def test_any_text_arrives_as_it_was_over_grpc(virtual: Virtual) -> None:
    """As over the others: it is JSON in ASCII within the message, and no id or place but ours is in it."""
    async def main() -> Far:
        async with Hub(lambda q: kx.source(AWKWARD) >> kx.map(lambda text: {"text": text, text: 1})) as hub:
            far = Far().say(input="1", request=1 << 40)
            await far.call(Service(hub=hub))
            return far

    far = virtual(main)
    assert [data["text"] for data in far.data] == AWKWARD and all(text in data for text, data in zip(
        AWKWARD, far.data, strict=True))
    assert len({*far.ids}) == len(AWKWARD) + 1 and all(id.isascii() for id in far.ids)


@pytest.mark.parametrize("cursor", ["x" * 500, "-1", "abcdefgh-" + "9" * 40, "\0", "abcdefgh-1e3", "-", "\u0661"])
def test_a_cursor_of_nobody_gets_one_resync_over_grpc(virtual: Virtual, cursor: str) -> None:
    """However long or odd it is; what it holds comes back as JSON, and no more than 64 characters of it."""
    async def main() -> Far:
        async with Hub(kx.source([1, 2])) as hub:
            far = Far(kayrx_after=cursor).say(request=9)
            await far.call(Service(hub=hub))
            return far

    far = virtual(main)
    assert [kind for _, kind, _ in far.events] == ["resync", "data", "data", "end"]
    assert far.events[0][2] == {"after": cursor[:64], "next": 1}

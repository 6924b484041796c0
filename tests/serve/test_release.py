"""A client that is gone frees the model, whatever it spoke: the model's own `/slots` says so, in less than 300 ms."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any

import anyio
import httpx2
import pytest
from starlette.applications import Starlette

import kayrx as kx
from kayrx.demo.model import LocalModel
from kayrx.io import ConnectionLost, grpc_client, http_lines, sse_client, websocket_client
from kayrx.serve import mount
from kayrx.serve.grpc import beside
from kayrx.serve.server import serve
from tests.serve.proxy import proxied

pytestmark = pytest.mark.anyio
PROMPT = "Tell me a story about a river, a mill and a cat."
CLIENTS = {
    "sse": lambda port: sse_client(f"http://127.0.0.1:{port}/ask", json=PROMPT),
    "ndjson": lambda port: http_lines(f"http://127.0.0.1:{port}/ask", json=PROMPT,
                                      headers={"Accept": "application/x-ndjson"}),
    "websocket": lambda port: websocket_client(f"ws://127.0.0.1:{port}/ask/ws", input=PROMPT),
    "grpc": lambda port: grpc_client(f"127.0.0.1:{port}", input=PROMPT),
}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """uvicorn and grpc.aio run on asyncio only."""
    return "asyncio"


@pytest.fixture(scope="module")
def model() -> Iterator[LocalModel]:
    with LocalModel() as opened:
        yield opened


@pytest.fixture(scope="module")
async def ports(model: LocalModel) -> AsyncIterator[dict[str, int]]:
    """One hub, HTTP and gRPC beside it; whose client has gone is cancelled."""
    app = Starlette()
    hub = mount(app, "/ask", lambda prompt: kx.source(partial(model.tokens, prompt, max_tokens=400)).named("model"),
                on_disconnect="cancel")
    async with anyio.create_task_group() as group:
        http = await group.start(lambda **status: serve(app, hub, signals=False, **status))
        grpc = await group.start(lambda **status: beside(hub, "127.0.0.1", 0, **status))
        yield {name: grpc if name == "grpc" else http for name in CLIENTS}
        group.cancel_scope.cancel()
    await anyio.sleep(0.1)    # grpc.aio hands what comes late for a closed loop to the next, as an error


@pytest.mark.parametrize("leaves", ["by itself", "by a cut"])
@pytest.mark.parametrize("protocol", CLIENTS)
async def test_a_client_that_is_gone_frees_the_models_slot(
        model: LocalModel, ports: dict[str, int], protocol: str, leaves: str) -> None:
    """Tokens arrive and the slot is taken; the client stops, or its network does, and 300 ms later the slot is free."""
    async with httpx2.AsyncClient(base_url=model.address, trust_env=False) as oracle:
        async def busy() -> int:
            return sum(slot["is_processing"] for slot in (await oracle.get("/slots")).json())

        def read(item: Any) -> None:
            nonlocal left
            left -= 1
            if not left:
                came.set()

        async def client(port: int) -> None:
            with leave, suppress(ConnectionLost):
                await (CLIENTS[protocol](port) >> kx.sink(read))

        came, left, leave = anyio.Event(), 5, anyio.CancelScope()
        async with anyio.create_task_group() as group, AsyncExitStack() as network:
            proxy = await network.enter_async_context(proxied(ports[protocol], []))
            group.start_soon(client, proxy.port)
            with anyio.fail_after(20):
                await came.wait()
            assert await busy() == 1
            began = time.perf_counter()
            if leaves == "by itself":
                leave.cancel()
            else:
                await network.aclose()
            while await busy():
                assert time.perf_counter() - began < 5
                await anyio.sleep(0.005)
            took = time.perf_counter() - began
            leave.cancel()
        assert took < 0.3

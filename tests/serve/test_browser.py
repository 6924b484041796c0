"""A real browser and a real model: tokens arrive, a killed page and a cut connection resume, stop keeps the text."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from playwright.async_api import async_playwright
from starlette.applications import Starlette

import kayrx as kx
from kayrx.demo.model import LocalModel
from kayrx.serve import Hub, mount
from kayrx.serve.server import serve

pytestmark = pytest.mark.anyio
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
PROMPT = "Tell me a story about a river, a mill and a cat."


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def model() -> Iterator[LocalModel]:
    with LocalModel() as opened:
        yield opened


async def busy_slots(model: LocalModel) -> int:
    """How many answers the model itself says it is working on."""
    async with httpx2.AsyncClient(trust_env=False) as http:
        return sum(slot["is_processing"] for slot in (await http.get(model.address + "/slots")).json())


class Proxy:
    """Between the browser and the server; ``cut`` resets every connection that is open."""

    def __init__(self, port: int) -> None:
        self.port, self.open = port, set[anyio.CancelScope]()

    async def relay(self, near: Any) -> None:
        async with near, await anyio.connect_tcp("127.0.0.1", self.port) as far:
            with anyio.CancelScope() as scope:
                self.open.add(scope)
                try:
                    async with anyio.create_task_group() as group:
                        group.start_soon(self.pour, near, far, scope)
                        group.start_soon(self.pour, far, near, scope)
                finally:
                    self.open.discard(scope)

    async def pour(self, source: Any, sink: Any, scope: anyio.CancelScope) -> None:
        try:
            async for chunk in source:
                await sink.send(chunk)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        scope.cancel()

    def cut(self) -> int:
        open = list(self.open)
        for scope in open:
            scope.cancel()
        return len(open)


@asynccontextmanager
async def browsing(what: Any, **options: Any) -> AsyncIterator[tuple[Any, str, Hub, Proxy]]:
    """A browser, the address of the page through a proxy, and the hub behind it."""
    browser_at = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert browser_at, "this test needs a browser: apt-get install chromium"
    app = Starlette()
    hub = mount(app, "/ask", what, page=True, control=True, **options)
    async with anyio.create_task_group() as group:
        proxy = Proxy(await group.start(lambda **status: serve(app, hub, signals=False, **status)))
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        group.start_soon(listener.serve, proxy.relay)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=browser_at, args=FLAGS)
            try:
                yield browser, f"http://127.0.0.1:{port}/ask", hub, proxy
            finally:
                await browser.close()
        group.cancel_scope.cancel()
    await listener.aclose()


async def until(page: Any, selector: str, true: Callable[[str], bool]) -> None:
    """Wait for a text.  Asked from here: a function that waits in the page is code that its own policy forbids."""
    with anyio.fail_after(30):
        while not true(await page.text_content(selector)):
            await anyio.sleep(0.02)


async def length(page: Any, least: int) -> None:
    await until(page, "#stream", lambda text: len(text) >= least)


def text_of(hub: Hub) -> str:
    (session,) = hub.sessions.values()
    return "".join(entry.event.data for entry in session.log.entries if entry.event.type == "data")


async def test_a_models_tokens_survive_a_cut_and_a_killed_page(model: LocalModel, tmp_path: Path) -> None:
    """Connection reset once, page closed in mid-answer: what the new page shows at the end is the answer, whole."""
    answers = partial(model.tokens, max_tokens=240)
    async with browsing(lambda prompt: kx.source(partial(answers, prompt)).named("model"), outbox="conflate"
                        ) as (browser, address, hub, proxy):
        page = await browser.new_page()
        await page.goto(address)
        await page.fill("#input", PROMPT)
        await page.click("#ask button")
        await length(page, 20)
        (session,) = hub.sessions.values()
        before = len(await page.text_content("#stream"))
        assert proxy.cut() > 0 and session.state == "running"
        await length(page, before + 40)              # the browser came back by itself, with Last-Event-ID
        seen = await page.text_content("#stream")
        await page.screenshot(path=str(tmp_path / "streaming.png"))
        assert text_of(hub).startswith(seen) and session.state == "running"
        again = page.url
        await page.close()                           # killed in mid-answer; the run goes on without it

        page = await browser.new_page()
        await page.goto(again)
        await page.wait_for_selector("body[data-state=done]")
        assert await page.text_content("#stream") == text_of(hub) != ""
        assert await page.text_content("#state") == "done" and await page.is_disabled("#stop")
        await page.wait_for_selector("#figures td")
        await page.screenshot(path=str(tmp_path / "done.png"))
        print("screenshots in", tmp_path)


async def test_stop_keeps_the_partial_text_and_frees_the_model(model: LocalModel, tmp_path: Path) -> None:
    """The button ends the answer: the text stays, the page says why, and the model's slot is free."""
    async with browsing(lambda prompt: kx.source(partial(model.tokens, prompt, max_tokens=400)).named("model")
                        ) as (browser, address, hub, _):
        page = await browser.new_page()
        await page.goto(address)
        await page.fill("#input", PROMPT)
        await page.click("#ask button")
        await length(page, 20)
        assert await busy_slots(model) == 1
        await page.wait_for_selector("#graph svg .rate")
        await page.click("#stop")
        await page.wait_for_selector("body[data-state=done]")
        with anyio.fail_after(0.3):
            while await busy_slots(model):
                await anyio.sleep(0.01)
        text = await page.text_content("#stream")
        assert text == text_of(hub) and 20 <= len(text) < 1000
        assert await page.text_content("#state") == "done – stopped"
        await page.screenshot(path=str(tmp_path / "stopped.png"))
        print("screenshots in", tmp_path)


async def test_a_page_that_is_detached_resumes_and_an_error_is_shown(tmp_path: Path) -> None:
    """Detach lets the run go on unseen, Resume brings all of it; a failure has its place on the page."""
    async def numbers() -> AsyncIterator[int]:
        for number in range(30):
            yield number
            await anyio.sleep(0.05)
        raise ValueError("the well is dry")

    async with browsing(kx.source(numbers).named("numbers") >> kx.map(lambda n: {"n": n}), on_disconnect="cancel"
                        ) as (browser, address, hub, _):
        page = await browser.new_page()
        await page.goto(address)
        await length(page, 30)
        await page.click("#detach")
        await until(page, "#state", lambda text: text == "detached")
        await anyio.sleep(0.2)
        assert hub.shared().state == "running" and not hub.clients
        await page.click("#resume")
        await page.wait_for_selector("#failure:not([hidden])")
        assert await page.text_content("#stream") == "".join(f'{{"n":{n}}}\n' for n in range(30))
        assert await page.text_content("#failure") == "ValueError: the stream has failed"
        await until(page, "#graph .rate", lambda text: 1 < float(text.removesuffix("/s")) < 21)
        await page.screenshot(path=str(tmp_path / "failed.png"))
        print("screenshots in", tmp_path)

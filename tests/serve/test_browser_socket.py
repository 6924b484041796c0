"""A page in a real browser with a WebSocket: tokens by credit, a killed page, cut connections, and what it resumes."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import anyio
import pytest
from playwright.async_api import async_playwright
from starlette.applications import Starlette
from starlette.responses import HTMLResponse

import kayrx as kx
from kayrx.serve import mount
from kayrx.serve.server import serve
from tests.serve.proxy import Fault, proxied

pytestmark = pytest.mark.anyio
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
PAGE = """<!doctype html><pre id=text></pre><p id=state>-</p><script>
const mine = JSON.parse(localStorage.mine || '{"text": "", "most": 0}')
let owed = 0
function connect() {
  const socket = new WebSocket(location.origin.replace('http', 'ws') + '/ask/ws')
  const say = message => socket.send(JSON.stringify({id: 'a', ...message}))
  socket.onopen = () => {
    owed = 8
    say(mine.session ? {type: 'resume', session: mine.session, after: mine.after, credit: 8}
                     : {type: 'start', data: 'tell me', credit: 8})
  }
  socket.onmessage = ({data}) => {
    const event = JSON.parse(data)
    if (event.type === 'ping') return socket.send('{"type": "pong"}')
    if (event.type === 'started') [mine.session, mine.run] = [event.data.session, event.data.run]
    if (event.type === 'data') {
      mine.text += event.data; mine.after = mine.run + '-' + event.seq; owed--
      if (owed < 0) mine.text += '!MORE THAN ASKED FOR!'
      if (owed < 4) { owed += 8; say({type: 'request', n: 8}) }
    }
    if (event.type === 'end') { mine.end = event.data.reason; socket.close() }
    localStorage.mine = JSON.stringify(mine)
    document.querySelector('#text').textContent = mine.text
    document.querySelector('#state').textContent = mine.end || '-'
  }
  socket.onclose = () => { if (!mine.end) setTimeout(connect, 50) }
}
connect()
</script>"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def tokens(count: int, question: str) -> AsyncIterator[str]:
    for number in range(count):
        await anyio.sleep(0.005)
        yield f"{number} \N{FAMILY}\n"


async def test_a_page_receives_tokens_and_resumes() -> None:
    """Cut twice by the network and killed once in mid-answer: the text is whole, and never more came than asked for."""
    browser_at = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert browser_at, "this test needs a browser: apt-get install chromium"
    app = Starlette()
    app.router.add_route("/", lambda request: HTMLResponse(PAGE))
    hub = mount(app, "/ask", lambda question: kx.source(partial(tokens, 300, question)))
    async with anyio.create_task_group() as group:
        port = await group.start(lambda **status: serve(app, hub, signals=False, **status))
        faults = [Fault(), Fault("cut", 3000), Fault("reset", 2000)]
        async with proxied(port, faults) as proxy, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=browser_at, args=FLAGS)
            try:
                context = await browser.new_context()
                page = await context.new_page()
                await page.goto(f"http://127.0.0.1:{proxy.port}/")
                await page.wait_for_function("document.querySelector('#text').textContent.length > 600")
                await page.close()
                (session,) = hub.sessions.values()
                assert session.state == "running"
                page = await context.new_page()
                await page.goto(f"http://127.0.0.1:{proxy.port}/")
                await page.wait_for_function("document.querySelector('#state').textContent !== '-'")
                text: Any = await page.text_content("#text")
                assert text == "".join([item async for item in tokens(300, "")])
                assert await page.text_content("#state") == "complete" and proxy.seen >= 4 and len(hub.sessions) == 1
            finally:
                await browser.close()
        group.cancel_scope.cancel()

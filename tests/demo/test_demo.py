"""The demo does its job: one graph from the model to terminal and page, one from a file to its figures.

The commands run as a user runs them, in a process of their own.
"""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from kayrx.demo.analytics import Totals, analytics_graph, levels, looks_like_log, words
from kayrx.demo.answer import END, QUEUE, Answer, Counts, Cut, Story, answer_graph, cut
from kayrx.demo.model import LocalModel, ModelError

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from kayrx.cli import main; main()", "demo"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "TERM": "xterm",
               "COLUMNS": "100"}


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module")
def model() -> Iterator[LocalModel]:
    with LocalModel() as opened:
        yield opened


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, run to its end."""
    return subprocess.run([*COMMAND, *arguments], env=ENVIRONMENT, capture_output=True, text=True, timeout=60)


def in_terminal(*arguments: str) -> str:
    """All that the command writes to a terminal; it must end well."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([*COMMAND, *arguments], env=ENVIRONMENT, stdin=theirs, stdout=theirs,
                          stderr=theirs) as process:
        os.close(theirs)
        screen = b""
        try:
            while part := os.read(ours, 4096):
                screen += part
        except OSError:
            pass    # how Linux says that the other end of a terminal is closed
        finally:
            os.close(ours)
    assert process.returncode == 0
    return screen.decode()


class Command:
    """The command in a session of its own, as long as its block; nothing of it may outlive it."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen([*COMMAND, *arguments], env=ENVIRONMENT, start_new_session=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.output = self.process.stdout

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def interrupted(self) -> tuple[int, str]:
        """Ctrl-C, and what becomes of it: the exit code and all that was said about errors."""
        self.process.send_signal(signal.SIGINT)
        _, errors = self.process.communicate(timeout=3)
        with pytest.raises(ProcessLookupError):
            os.killpg(self.process.pid, 0)    # the session is empty: no child is left
        return self.process.returncode, errors

    def address(self) -> str:
        """The page's address, once the command has said it."""
        for line in self.output:
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                return found[0]
        raise AssertionError("the command ended without an address")


# -- sentences -----------------------------------------------------------------------------------


def test_sentences_do_not_depend_on_how_the_text_is_cut_into_tokens() -> None:
    """Any cut into three gives the same sentences, and together they have every word, in order."""
    text = 'So? "Yes!" he said... 1. One.\n2) Two\n\nThe 3rd is 1.5 long. No end'

    def sentences(*pieces: str) -> list[str]:
        state, found = Cut("", ()), list[str]()
        for piece in (*pieces, END):
            state = cut(state, piece)
            found.extend(state.complete)
        return found

    whole = ["So?", '"Yes!"', "he said...", "1. One.", "2) Two", "The 3rd is 1.5 long.", "No end"]
    assert sentences(text) == sentences(*text) == whole
    assert " ".join(whole).split() == text.split()
    for a, b in combinations(range(len(text) + 1), 2):
        assert sentences(text[:a], text[a:b], text[b:]) == whole


async def test_the_graph_shows_each_token_and_reports_each_sentence() -> None:
    """Tokens pass in order and unchanged; the last sentence comes though nothing follows it."""
    tokens = ["It", " is", ".", " So", " be", " it", "!", "\n1.", " One", "\n", "And", " more"]
    shown: list[str] = []
    reported: list[Counts] = []

    async def model() -> AsyncIterator[str]:
        for token in tokens:
            yield token

    await answer_graph(model, shown.append, reported.append)

    assert shown == tokens
    assert reported == [Counts("It is.", 1, 2), Counts("So be it!", 2, 5), Counts("1. One", 3, 7),
                        Counts("And more", 4, 9)]


# -- the story -----------------------------------------------------------------------------------


async def test_every_reader_of_a_story_gets_all_of_it() -> None:
    """Early, late or slow: each reads from the first event to the last, and then ends."""
    story, read = Story(), dict[str, list[tuple[str, object]]]()

    async def reader(name: str) -> None:
        read[name] = [event async for event in story.read()]

    async with anyio.create_task_group() as group:
        group.start_soon(reader, "early")
        await story.opened()
        for number in range(3):
            story.tell("token", number)
            await anyio.wait_all_tasks_blocked()
        group.start_soon(reader, "late")
        await anyio.wait_all_tasks_blocked()
        story.tell("end", None)
        story.close()
        await story.left()

    assert read["early"] == read["late"] == [("token", 0), ("token", 1), ("token", 2), ("end", None)]


async def test_an_answer_tells_all_it_shows(model: LocalModel) -> None:
    """Prompt first, end last; the tokens of the story are the text shown; the figures fit them."""
    shown: list[str] = []
    answer = Answer(model, "Name three rivers.", max_tokens=24, write=shown.append)

    await answer.run()

    story = [event async for event in answer.story.read()]
    figures = answer.figures
    assert story[0] == ("prompt", "Name three rivers.")
    assert story[-1] == ("end", {"reason": "complete"})
    assert [value for name, value in story if name == "token"] == shown
    assert figures.tokens == len(shown) > 3
    assert figures.tokens_per_second and figures.first_token_ms
    assert answer.handle.metrics().gates[0].size == QUEUE
    assert answer.counts.words == len("".join(shown).split())


async def test_stopping_an_answer_keeps_what_was_said(model: LocalModel) -> None:
    """`stop` ends the model's work, not the story: the half sentence comes out, then the end."""
    begun = anyio.Event()
    answer = Answer(model, "Tell me a very long story.", max_tokens=400, write=lambda piece: begun.set())
    await answer.stop()    # before the run: nothing to stop

    async with anyio.create_task_group() as group:
        group.start_soon(answer.run)
        await begun.wait()
        with anyio.fail_after(2):
            await answer.stop()

    story = [event async for event in answer.story.read()]
    said = "".join(str(value) for name, value in story if name == "token")
    sentences = " ".join(str(value) for name, value in story if name == "sentence")
    assert story[-1] == ("end", {"reason": "stopped"})
    assert said.split() == sentences.split() != []
    assert 1 <= answer.figures.tokens < 400


async def test_a_failing_model_is_the_end_of_the_story_and_an_exception(model: LocalModel) -> None:
    """The page reads the model's words as an error, the caller gets the exception itself."""
    answer = Answer(model, "word " * 3000)

    with pytest.raises(ModelError, match="context size"):
        await answer.run()

    *_, (name, value) = [event async for event in answer.story.read()]
    assert name == "error" and "context size" in str(value)


# -- analytics -----------------------------------------------------------------------------------


async def test_windows_add_up_to_the_file(tmp_path: Path) -> None:
    """Every word is counted once; a window is full but the last; earlier totals never change."""
    file = tmp_path / "text.txt"
    file.write_text("one two two\n\nthree three three\nOne\n", encoding="utf-8")
    reports: list[Totals] = []

    await analytics_graph(file, words, reports.append, window=3)

    assert [(r.windows, r.items, dict(r.counts)) for r in reports] == [
        (1, 3, {"one": 1, "two": 2}),
        (2, 6, {"one": 1, "two": 2, "three": 3}),
        (3, 7, {"one": 2, "two": 2, "three": 3}),
    ]


@pytest.mark.parametrize(("text", "log"), [
    ("12:00 INFO up\n12:01 ERROR down\nTraceback:\n", True),
    ("[error] no\n[warn] yes\n", True),
    ('time=1 level=info msg="x"\ntime=2 level="warn" msg="y"\n', True),
    ("An error is a notice of a critical kind.\nMore info is here.\n", False),
    ("", False),
])
def test_logs_are_told_from_prose(tmp_path: Path, text: str, log: bool) -> None:
    """A log names levels, written large, in brackets or as level=; prose may speak of errors."""
    file = tmp_path / "input"
    file.write_text(text, encoding="utf-8")

    assert looks_like_log(file.read_text().splitlines()) is log


def test_a_line_has_one_level() -> None:
    """The first level counts, under one spelling; a line without one is counted too, an empty one not."""
    assert [levels(line) for line in ("INFO then ERROR", "[warn] x", "WARNING", "  at line 3", "  ")] == [
        ["INFO"], ["WARNING"], ["WARNING"], ["(none)"], []]


# -- the command ---------------------------------------------------------------------------------


def test_the_command_streams_an_answer_and_ends_with_plan_and_figures() -> None:
    """Prompt, answer, figures, the graph's own plan and the run's counts, on a plain pipe."""
    ended = run("Name three rivers.", "--max-tokens", "24")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("> Name three rivers.\n\n")
    assert re.search(r"\n\d+ tokens, \d+ a second, the first after \d+ ms; \d+ sentences, \d+ words; "
                     rf"queue depth at most \d+ of {QUEUE}\n", ended.stdout)
    assert "segment 1 reads model" in ended.stdout
    assert re.search(r"run: done after \d+\.\d\d s\n  gate into 'show': \d+ passed, 0 dropped", ended.stdout)


def test_tokens_are_shown_while_the_model_works() -> None:
    """The first words are there long before the last: the command streams, also into a pipe."""
    with Command("Tell me a very long story.", "--max-tokens", "400") as command:
        command.output.readline()
        command.output.readline()
        assert command.output.read(5)
        assert command.process.poll() is None


def test_interrupting_while_the_model_is_loaded_leaves_nothing() -> None:
    """Ctrl-C at the moment the weights are mapped into memory: exit code 130, no traceback, no hang."""
    with Command("Hello.") as command:
        maps = Path(f"/proc/{command.process.pid}/maps")
        while ".gguf" not in maps.read_text():
            assert command.process.poll() is None

        assert command.interrupted() == (130, "")


def test_interrupting_the_answer_leaves_nothing() -> None:
    """Ctrl-C after the first token: exit code 130, no traceback, no process."""
    with Command("Tell me a very long story.", "--max-tokens", "400") as command:
        command.output.readline()
        command.output.readline()
        assert command.output.read(5)

        assert command.interrupted() == (130, "")


async def test_interrupting_the_page_leaves_nothing() -> None:
    """Ctrl-C while nobody has opened the page, and while a client reads: 130, no traceback."""
    with Command("Hello.", "--web", "--port", "0") as command:
        command.address()
        assert command.interrupted() == (130, "")

    with Command("Tell me a very long story.", "--web", "--port", "0", "--max-tokens", "400") as command:
        async with httpx2.AsyncClient(base_url=command.address(), trust_env=False) as client:
            try:
                async with client.sse("/events") as stream:
                    async for event in stream:
                        if event.event == "token":
                            assert command.interrupted() == (130, "")
            except httpx2.RemoteProtocolError:
                pass    # the stream may be cut before its end


async def test_the_page_tells_the_whole_answer() -> None:
    """Over SSE come the prompt, the tokens the terminal shows, the sentences, figures and the end."""
    with Command("Name three rivers.", "--web", "--port", "0", "--max-tokens", "24") as command:
        async with httpx2.AsyncClient(base_url=command.address(), trust_env=False) as client:
            assert "<title>" in (await client.get("/")).text
            async with client.sse("/events") as stream:
                events: list[tuple[str, Any]] = [(event.event, event.json()) async for event in stream]
        shown, errors = command.process.communicate(timeout=10)

    text = "".join(value for name, value in events if name == "token")
    assert events[0] == ("prompt", "Name three rivers.")
    assert events[-1] == ("end", {"reason": "complete"})
    assert text and text in shown
    assert " ".join(value for name, value in events if name == "sentence").split() == text.split()
    assert {"tokens", "tokens_per_second", "first_token_ms", "queue_depth"} == set(
        next(value for name, value in events if name == "figures"))
    assert (command.process.returncode, errors) == (0, "")


async def test_the_stop_button_ends_the_answer_and_not_the_command() -> None:
    """POST /stop: the stream ends with the reason, and the command prints its figures as ever."""
    with Command("Tell me a very long story.", "--web", "--port", "0", "--max-tokens", "400") as command:
        async with httpx2.AsyncClient(base_url=command.address(), trust_env=False) as client:
            events: list[tuple[str, Any]] = []
            async with client.sse("/events") as stream:
                async for event in stream:
                    if event.event == "token" and "token" not in [name for name, _ in events]:
                        assert (await client.post("/stop")).status_code == 204
                    events.append((event.event, event.json()))
        shown, errors = command.process.communicate(timeout=10)

    assert events[-1] == ("end", {"reason": "stopped"})
    assert "run: done" in shown
    assert (command.process.returncode, errors) == (0, "")


def test_a_file_is_counted_in_plain_lines_for_a_pipe(tmp_path: Path) -> None:
    """A line a window, then plan and figures; no control sequence."""
    file = tmp_path / "text.txt"
    file.write_text("so it goes and so it went\n" * 300, encoding="utf-8")

    ended = run("--input", str(file), "--window", "700")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("window 1: 700 words, 5 different; so 200, it 200, goes 100")
    assert "window 3: 2100 words" in ended.stdout
    assert "segment 1 reads lines" in ended.stdout and "run: done" in ended.stdout
    assert "\x1b" not in ended.stdout


def test_a_file_is_counted_in_a_live_table_in_a_terminal(tmp_path: Path) -> None:
    """The table shows the final totals and is followed by the plan."""
    file = tmp_path / "server.log"
    file.write_text("1 INFO up\n2 WARN hot\n3 INFO up\n" * 300, encoding="utf-8")

    screen = in_terminal("--input", str(file))

    assert "log levels of server.log: 900 in 9 windows" in screen
    assert re.search(r"INFO.* 600 .*66\.7%", screen) and re.search(r"WARNING.* 300 .*33\.3%", screen)
    assert "segment 1 reads lines" in screen


def test_interrupting_the_count_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C in the middle of a big file: exit code 130, no traceback, no process."""
    file = tmp_path / "big.txt"
    file.write_text("so it goes and so it went\n" * 2_000_000, encoding="utf-8")

    with Command("--input", str(file)) as command:
        assert command.output.readline().startswith("window 1:")
        assert command.interrupted() == (130, "")


@pytest.mark.parametrize("ends", ["closed", "interrupted"])
def test_a_pipe_is_counted_from_its_first_line_on(tmp_path: Path, ends: str) -> None:
    """What comes of a pipe comes once: nothing of it is lost to a look ahead, and a silent one can be left."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    with Command("--input", str(pipe), "--window", "2") as command, pipe.open("wb", buffering=0) as writer:
        writer.write(b"so it")
        writer.write(b" goes\r\nand")
        assert command.output.readline() == "window 1: 2 words, 2 different; so 1, it 1\n"
        if ends == "interrupted":
            assert command.interrupted() == (130, "")
        else:
            writer.close()
            assert command.output.readline() == "window 2: 4 words, 4 different; so 1, it 1, goes 1, and 1\n"
            assert command.process.wait(20) == 0


@pytest.mark.parametrize(("arguments", "code", "words"), [
    (["word " * 3000], 1, "context size"),
    (["--input", "/nowhere"], 2, "does not exist"),
    (["prompt", "--input", __file__], 2, "either a prompt"),
    (["--input", sys.executable], 1, f"error: {sys.executable}: 'utf-8' codec can't decode"),
])
def test_misuse_is_answered_in_a_line(arguments: list[str], code: int, words: str) -> None:
    """An error says what is wrong, on stderr, without a traceback."""
    ended = run(*arguments)

    assert ended.returncode == code
    assert words in ended.stderr and "Traceback" not in ended.stderr


def test_a_taken_port_is_answered_in_a_line() -> None:
    """The operating system's word for it, and not uvicorn's."""
    with Command("Hello.", "--web", "--port", "0") as command:
        ended = run("Hello.", "--web", "--port", command.address().rpartition(":")[2])

    assert ended.returncode == 1
    assert "in use" in ended.stderr and "Traceback" not in ended.stderr

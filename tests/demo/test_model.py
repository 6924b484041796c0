"""The local model keeps its promises: real pieces, real errors, and a prompt release of the slot."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from kayrx.demo.model import LocalModel, ModelError
from kayrx.errors import MissingDependency

pytestmark = pytest.mark.anyio

QUESTION = "Tell me a long story about a river, a mill and a cat."
LONG_PROMPT = "The river runs to the sea. " * 60    # about two seconds of reading, before any answer


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module")
def model() -> Iterator[LocalModel]:
    with LocalModel() as opened:
        yield opened


async def busy_slots(model: LocalModel) -> int:
    """How many answers the model itself says it is working on: the true oracle of a release."""
    async with httpx2.AsyncClient(trust_env=False) as client:
        slots = (await client.get(model.address + "/slots")).json()
    return sum(slot["is_processing"] for slot in slots)


async def wait_until_free(model: LocalModel) -> None:
    """Return at the first answer of the model that no slot works; the caller sets the deadline."""
    while await busy_slots(model):
        await anyio.lowlevel.checkpoint()


async def test_the_pieces_are_the_answer_and_come_while_it_is_made(model: LocalModel) -> None:
    """Many pieces, none empty; the first one is here while the model still works on the rest."""
    pieces: list[str] = []
    working_at_the_first = 0

    async with aclosing(model.tokens(QUESTION, max_tokens=48)) as answer:
        async for piece in answer:
            if not pieces:
                working_at_the_first = await busy_slots(model)
            pieces.append(piece)

    assert working_at_the_first == 1
    assert 8 < len(pieces) <= 48
    assert all(pieces)
    assert len("".join(pieces).split()) > 8


async def test_the_same_call_gives_the_same_answer(model: LocalModel) -> None:
    """Nothing random comes in by the back door: with a temperature too, a call can be replayed."""
    texts = ["".join([piece async for piece in model.tokens(QUESTION, max_tokens=12, temperature=0.8)])
             for _ in range(2)]

    assert texts[0] == texts[1] != ""


async def test_closing_early_frees_the_slot_and_leaves_no_thread(model: LocalModel) -> None:
    """After `aclose` the model stops this answer in 0.3 s, and no thread of Python was ever started."""
    threads = threading.active_count()
    answer = model.tokens(QUESTION, max_tokens=400)
    async for _ in answer:
        break

    assert await busy_slots(model) == 1
    await answer.aclose()

    with anyio.fail_after(0.3):
        await wait_until_free(model)
    assert threading.active_count() == threads


async def test_cancelling_while_the_prompt_is_read_frees_the_slot(
        model: LocalModel, anyio_backend_name: str) -> None:
    """A cancelled call lets go before its first piece too: in a fraction of what reading would take.

    The fraction is 0.3 s where reading takes two; on a busy machine both are longer.
    """
    pieces: list[str] = []

    async def ask(beginning: str) -> None:
        # A beginning of its own, or the model would remember the prompt and not read it.
        prompt = f"{anyio_backend_name} {beginning} {LONG_PROMPT}"
        async with aclosing(model.tokens(prompt, max_tokens=1)) as answer:
            pieces.extend([piece async for piece in answer])

    began = anyio.current_time()
    await ask("whole")
    reading = anyio.current_time() - began
    pieces.clear()

    async with anyio.create_task_group() as group:
        group.start_soon(ask, "part")
        while not await busy_slots(model):
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()

    with anyio.fail_after(reading * 0.15):
        await wait_until_free(model)
    assert pieces == []


async def test_two_answers_at_once_do_not_mix(model: LocalModel) -> None:
    """Each call has its own slot: together they say what they say alone."""
    async def text(prompt: str) -> str:
        return "".join([piece async for piece in model.tokens(prompt, max_tokens=16)])

    together: dict[str, str] = {}

    async def ask(prompt: str) -> None:
        together[prompt] = await text(prompt)

    async with anyio.create_task_group() as group:
        group.start_soon(ask, "Name a colour.")
        group.start_soon(ask, "Count from one to five.")

    assert len(set(together.values())) == 2 and all(together.values())


async def test_an_error_of_the_model_is_an_exception_of_the_consumer(model: LocalModel) -> None:
    """A prompt longer than the context raises the model's own words, and the next call works."""
    with pytest.raises(ModelError, match="context size"):
        async for _ in model.tokens("word " * 3000):
            pytest.fail("a refused prompt gives no piece")

    assert [piece async for piece in model.tokens("Hello.", max_tokens=2)]


async def test_a_closed_model_says_how_to_open_it() -> None:
    """Misuse is answered with the fix."""
    with pytest.raises(RuntimeError, match="with LocalModel"):
        await anext(LocalModel().tokens("Hello."))


def test_leaving_the_model_ends_the_threads_of_its_engine() -> None:
    """`with` gives back all it took: the engine's threads are gone, also in mid-answer."""
    async def first_piece(model: LocalModel) -> None:
        async with aclosing(model.tokens(QUESTION, max_tokens=400)) as answer:
            await anext(answer)

    def threads_while_and_after() -> tuple[int, int]:
        with LocalModel() as model:
            anyio.run(first_piece, model)
            inside = len(os.listdir("/proc/self/task"))
        return inside, len(os.listdir("/proc/self/task"))

    _, before = threads_while_and_after()    # the engine keeps what it makes once in a process
    inside, after = threads_while_and_after()

    assert inside > before
    assert after == before


async def test_closing_the_model_under_an_open_answer_is_an_error_of_its_consumer() -> None:
    """Whoever still reads gets an exception, not an answer that seems complete; nobody hangs."""
    with LocalModel() as model:
        answer = model.tokens(QUESTION, max_tokens=400)
        await anext(answer)

    with pytest.raises(ModelError, match="in the middle of its answer"):
        async for _ in answer:
            pass


def test_a_model_can_be_closed_as_soon_as_it_is_open() -> None:
    """Nothing has to happen between opening and closing (the engine alone would hang, now and then)."""
    program = "from kayrx.demo.model import LocalModel\nfor _ in range(5):\n    with LocalModel(): pass"

    subprocess.run([sys.executable, "-c", program], timeout=30, check=True, cwd=Path(__file__).parents[2])


def test_a_missing_engine_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, making the model fails at once; importing its module does not."""
    monkeypatch.setitem(sys.modules, "xllamacpp", None)

    with pytest.raises(MissingDependency, match=r"pip install kayrx\[demo\]"):
        LocalModel()

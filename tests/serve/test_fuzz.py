"""Twenty thousand hostile frames for every decoder that hears a network or reads a file; the same ones each time."""

from __future__ import annotations

import random
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

import kayrx as kx
from kayrx.io.event_stream import Decoder
from kayrx.io.http import LinesFrom
from kayrx.io.lasting import Again
from tests.serve.fuzzing import DECODERS, Kit, answering, kx_empty, mutated

pytestmark = pytest.mark.anyio
CASES = {"sse": 6000, "sse_source": 900, "lines": 900, "socket_source": 4000, "call_source": 1500, "socket": 700,
         "called": 900, "posted": 600, "door": 700, "letters": 200, "codec": 5000}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """grpc.aio runs on asyncio only."""
    return "asyncio"


@pytest.fixture(scope="module")
async def kit(anyio_backend: str) -> AsyncIterator[Kit]:
    kit = Kit()
    await kit.begin()
    yield kit
    await kit.end()


@pytest.mark.parametrize("name", DECODERS)
async def test_hostile_frames_raise_nothing_but_what_is_declared(name: str, kit: Kit) -> None:
    """Valid frames that were flipped, cut, repeated and filled with NUL, CR, torn UTF-8, huge numbers and depth."""
    decode, seeds = DECODERS[name]
    dice = random.Random(name)
    with anyio.fail_after(60):
        for number in range(-len(seeds), CASES[name]):
            data = seeds[number] if number < 0 else mutated(dice.choice(seeds), seeds, dice)
            try:
                await decode(data, kit)
            except Exception as error:
                error.add_note(f"case {number}: {data!r}")
                raise


def test_there_are_twenty_thousand() -> None:
    """And each decoder has its share."""
    assert sum(CASES.values()) >= 20_000 and CASES.keys() == DECODERS.keys()


def test_a_fuzzer_that_is_led_by_coverage_finds_nothing_new() -> None:
    """A short run of atheris, so that the long ones can be made at any time."""
    ran = subprocess.run([sys.executable, "-m", "tests.serve.fuzzing", "codec", "-runs=2000", "-seed=1"],
                         capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0 and "Done 2000 runs" in ran.stderr, ran.stderr[-3000:]


LIMIT = 1 << 19
LONG = {"one line": b"data: " + b"x" * (LIMIT - 50) + b"\n\n", "empty lines": b"data\n" * (LIMIT // 2) + b"\n",
        "an id": (b"id: " + b"x" * (LIMIT - 50) + b"\n") * 3,
        "a name": (b"event: " + b"x" * (LIMIT - 50) + b"\n") * 3, "a comment": (b":" + b"x" * (LIMIT - 50) + b"\n") * 3,
        "no end": b"data: " + b"x" * (3 * LIMIT), "wide": "data: \N{GRINNING FACE}".encode() + b"x" * (3 * LIMIT)}


@pytest.mark.parametrize("name", LONG)
async def test_a_decoder_holds_twice_its_longest_message(name: str, kit: Kit) -> None:
    """Bytes, and the text that they become: no list of parts, and no text of four bytes a character before its end."""
    stream, decoder = LONG[name], Decoder(limit=LIMIT)
    for what in ("sse", "lines"):
        text = stream if what == "sse" else stream.replace(b"\n", b"\r")
        read = LinesFrom("http://x", kx_empty(), (), None, LIMIT, Again(1), answering(text, "text/plain", kit))()
        tracemalloc.start()
        with anyio.CancelScope():
            try:
                if what == "sse":
                    for start in range(0, len(stream), 1000):
                        for _ in decoder.feed(stream[start:start + 1000]):
                            pass
                else:
                    async for _ in read:
                        pass
            except kx.RunError:
                pass
        peak: Any = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2.25 * LIMIT + 200_000, f"{what}: {peak / LIMIT:.2f}"    # a bytearray grows by an eighth

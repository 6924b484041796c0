"""Answers that are packed: bombs, and what is not what it says."""

from __future__ import annotations

import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import brotli
import httpx2
import pytest

import kayrx as kx
from kayrx.io import http_lines, post_each, sse_client

pytestmark = pytest.mark.anyio
MEGABYTES = 200


def packed(encoding: str, begin: bytes) -> bytes:
    """So many megabytes in some kilobytes, made without holding them."""
    if encoding == "gzip":
        pack: Any = zlib.compressobj(9, zlib.DEFLATED, 31)
        add, last = pack.compress, pack.flush
    else:
        pack = brotli.Compressor(quality=5)
        add, last = pack.process, pack.finish
    return b"".join([add(begin), *(add(b"x" * (1 << 20)) for _ in range(MEGABYTES)), last()])


def answering(chunks: list[bytes], encoding: str, kind: str = "text/event-stream") -> Callable[[], httpx2.AsyncClient]:
    async def body() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk
    headers = {"content-type": kind, "content-encoding": encoding}
    return lambda: httpx2.AsyncClient(transport=httpx2.MockTransport(
        lambda request: httpx2.Response(200, headers=headers, content=body())))


CLIENTS: dict[str, Callable[[Any], Any]] = {
    "sse_client": lambda client: sse_client("http://x", attempts=1, client=client),
    "http_lines": lambda client: http_lines("http://x", client=client),
    "post_each": lambda client: kx.source([1]) >> post_each("http://x", client=client)}


@pytest.mark.parametrize("encoding", ["gzip", "br"])
@pytest.mark.parametrize("name", CLIENTS)
async def test_a_bomb_is_an_answer_that_is_too_long(name: str, encoding: str) -> None:
    """Hundreds of megabytes in some kilobytes and one chunk: what is held is what the limit allows, and then that is
    said.  httpx2 unpacks by so much and no more."""
    client = answering([packed(encoding, b"data: ")], encoding)
    tracemalloc.start()
    try:
        with pytest.raises(kx.RunError, match="raise limit="):
            await (CLIENTS[name](client) >> kx.to_list())
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
@pytest.mark.parametrize("name", CLIENTS)
async def test_what_is_not_packed_as_it_says_is_told(name: str, encoding: str) -> None:
    """A RunError that names the server, and no other attempt."""
    with pytest.raises(kx.RunError, match="the answer of http://x is not in the encoding that it says"):
        await (CLIENTS[name](answering([b"\xfe: x\n\n" * 9], encoding)) >> kx.to_list())

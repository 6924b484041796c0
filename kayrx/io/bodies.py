"""The body of an answer over HTTP, which may be left in its middle, and may not be what it says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio

from kayrx.errors import MissingDependency, RunError

try:
    import httpx2
except ImportError as missing:
    raise MissingDependency(f"clients need {missing.name}: pip install \"kayrx[clients]\"") from missing


@asynccontextmanager
async def body_of(response: httpx2.Response) -> AsyncIterator[AsyncIterator[bytes]]:
    """The chunks of an answer, which may be left before the last.

    httpx2 reads through generators in generators.  Those within would be collected some time, of which trio warns;
    they end in their own way once they find the connection closed.
    """
    chunks = response.aiter_bytes()
    try:
        yield chunks
    except httpx2.DecodingError as error:    # another attempt would be the same
        raise RunError(f"the answer of {response.url} is not in the encoding that it says: {error}") from error
    finally:
        with anyio.CancelScope(shield=True), suppress(httpx2.HTTPError, httpx2.StreamError, OSError, RuntimeError):
            await response.aclose()
            async for _ in chunks:
                pass


__all__ = ["body_of"]

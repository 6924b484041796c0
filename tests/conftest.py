"""Fixtures for every test: the backends a graph can run on.

``anyio_backend``  asyncio and trio, for async tests (anyio's own fixture)
``loop``           "asyncio" and "trio" as plain names, for `kayrx.testing.run_virtual`
``backend``        "sync", "asyncio" and "trio", for ``graph.run(backend=...)`` of graphs that need no loop
"""

from __future__ import annotations

import pytest

LOOPS = ("asyncio", "trio")


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=("sync", *LOOPS))
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)

"""Fixtures for every test: the backends a graph can run on.

``anyio_backend``  asyncio and trio, for async tests (anyio's own fixture)
``loop``           "asyncio" and "trio" as plain names, for `kayrx.testing.run_virtual`
``tracked``        makes a source that tells what was read of it, and whether it was closed
``backend``        "sync", "asyncio" and "trio", for ``graph.run(backend=...)`` of graphs that need no loop

Generated tests try 25 cases here, 200 where CI is set and 10,000 where KAYRX_NIGHTLY is; no database, no
deadline, so nothing is flaky.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

for _profile, _cases in (("here", 25), ("ci", 200), ("nightly", 10_000)):
    settings.register_profile(_profile, max_examples=_cases, deadline=None, database=None,
                              derandomize=_profile == "ci",
                              suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
settings.load_profile("nightly" if os.environ.get("KAYRX_NIGHTLY") else "ci" if os.environ.get("CI") else "here")

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


class Tracked:
    """Items to be used as ``kx.source(tracked)``: ``pulled`` so far, and ``closed`` once let go."""

    def __init__(self, items: Iterable[Any]) -> None:
        self.items, self.pulled, self.closed = items, 0, False

    def __call__(self) -> Iterator[Any]:
        self.closed = False
        try:
            for item in self.items:
                self.pulled += 1
                yield item
        finally:
            self.closed = True


@pytest.fixture
def tracked() -> type[Tracked]:
    return Tracked


def pytest_collection_finish() -> None:
    """What collecting has made lives to the end: tests that collect garbage need not look at it each time."""
    gc.collect()
    gc.freeze()

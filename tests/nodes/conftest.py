"""Timelines: graphs over sources written as marbles, on virtual time, a second a character."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

import kayrx as kx
from kayrx.testing import run_virtual


def marbles(text: str) -> list[tuple[int, str]]:
    """``"-a(bc)|"`` as moments: a character a second, a group at the second of its bracket.

    ``|`` is the end and ``#`` an error; a source without either stays open.
    """
    out, at = [], None
    for second, mark in enumerate(text):
        if mark == "(":
            at = second
        elif mark == ")":
            at = None
        elif mark not in "- ":
            out.append((second if at is None else at, mark))
    return out


class Timeline:
    """``timeline(make, *marbles)``: what ``make(*sources)`` gives and when, ``"|"`` or the error last.

    ``closed`` says when each source was let go.
    """

    def __init__(self, loop: str) -> None:
        self.loop = loop
        self.closed: list[float | None] = []

    def __call__(self, make: Callable[..., kx.Graph[Any, Any]], *texts: str) -> list[tuple[float, Any]]:
        async def main() -> list[tuple[float, Any]]:
            start = anyio.current_time()
            self.closed = [None] * len(texts)

            def now() -> float:
                return round(anyio.current_time() - start, 6)

            def source(number: int, text: str) -> kx.Graph[Any, Any]:
                async def play() -> Any:
                    try:
                        for second, mark in marbles(text):
                            await anyio.sleep(max(0.0, start + second - anyio.current_time()))
                            if mark == "#":
                                raise LookupError(text)
                            if mark == "|":
                                return
                            yield mark
                        await anyio.sleep(float("inf"))
                    finally:
                        self.closed[number] = now()
                return kx.source(play)

            out: list[tuple[float, Any]] = []
            try:
                await (make(*[source(i, text) for i, text in enumerate(texts)])
                       >> kx.each(lambda x: out.append((now(), x))))
            except LookupError as error:
                out.append((now(), f"# {error.args[0]}"))
            else:
                out.append((now(), "|"))
            return out

        return run_virtual(main, self.loop)


@pytest.fixture
def timeline(loop: str) -> Timeline:
    return Timeline(loop)

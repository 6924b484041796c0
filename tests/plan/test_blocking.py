"""Known by name: which functions are found to block, and which are not, without calling any."""

from __future__ import annotations

import asyncio
import functools
import os
import pathlib
import queue
import socket
import ssl
import subprocess
import sys
import threading
import time
import types
import urllib.request
from pathlib import Path
from time import sleep as nap
from typing import Any
from urllib.request import urlopen

import anyio
import pytest

import kayrx as kx
from kayrx.plan.blocking import blocking, reading

EVENT, QUEUE, PATH = threading.Event(), queue.Queue[int](2), Path("x")


def through_a_module(x: Any) -> Any:
    return time.sleep(x)


def through_an_alias(x: Any) -> Any:
    nap(x)


def imported_here(x: Any) -> Any:
    import time as clock
    clock.sleep(x)


def name_imported_here(x: Any) -> Any:
    from time import sleep
    sleep(x)


def package_imported_here(x: Any) -> Any:
    import urllib.request
    return urllib.request.urlopen(x)


def a_file(x: Any) -> Any:
    with open(x) as file:
        return file.read()


def a_method(x: Any) -> Any:
    return EVENT.wait(x)


def a_helper(x: Any) -> Any:
    return through_a_module(x)


def a_comprehension(x: Any) -> Any:
    return [QUEUE.get() for _ in x]


async def on_the_loop(x: Any) -> Any:
    subprocess.run([x])


def closing_over() -> Any:
    wait = time.sleep

    def held(x: Any) -> Any:
        wait(x)
    return held


class Caller:
    def __call__(self, x: Any) -> Any:
        return socket.create_connection(x)

    def method(self, x: Any) -> Any:
        return PATH.read_text()


FOUND = [
    (through_a_module, "time.sleep"), (through_an_alias, "time.sleep"), (imported_here, "time.sleep"),
    (name_imported_here, "time.sleep"), (package_imported_here, "urllib.request.urlopen"), (a_file, "open"),
    (a_method, "threading.Event.wait"), (a_helper, "time.sleep"), (a_comprehension, "queue.Queue.get"),
    (on_the_loop, "subprocess.run"), (closing_over(), "time.sleep"), (Caller(), "socket.create_connection"),
    (Caller().method, "Path.read_text"), (lambda x: urlopen(x), "urllib.request.urlopen"),
    (lambda x: urllib.request.urlopen(x), "urllib.request.urlopen"),
    (functools.partial(through_a_module, 1), "time.sleep"), (functools.partial(time.sleep), "time.sleep"),
    (time.sleep, "time.sleep"), (open, "open"), (input, "input"), (os.system, "os.system"),
    (EVENT.wait, "threading.Event.wait"),
    (QUEUE.put, "queue.Queue.put"), (socket.socket.recv, "socket.socket.recv"), (PATH.read_bytes, "Path.read_bytes"),
    (pathlib.Path.write_text, "Path.write_text"), (threading.Lock().acquire, "threading.Lock.acquire"),
]


@pytest.mark.parametrize(("fn", "name"), FOUND, ids=range(len(FOUND)))
def test_a_blocking_call_is_found_by_name(fn: Any, name: str) -> None:
    """Whatever way the name came into the function: a global, an alias, an import inside it, a closure, a helper."""
    assert blocking(fn) == name


async def handed_over(x: Any) -> Any:
    return await anyio.to_thread.run_sync(time.sleep, x)


async def in_a_lambda(x: Any) -> Any:
    return await asyncio.to_thread(lambda: time.sleep(x))


async def of_the_loop(x: Any) -> Any:
    await asyncio.sleep(x)
    return time.monotonic()


def shadowed(x: Any) -> Any:
    time = x
    return time.sleep(1)


FREE = [handed_over, in_a_lambda, of_the_loop, shadowed, str.upper, len, print, dict, kx.it + 1, anyio.sleep,
        asyncio.Event().wait, queue.Queue[int]().put, lambda x: x,
        lambda x: urlopen.cache_clear(x),  functools.partial(max, 1), object(), 3]


@pytest.mark.parametrize("fn", FREE, ids=range(len(FREE)))
def test_what_does_not_block_is_not_named(fn: Any) -> None:
    """A function that is handed over and not called, the loop's own sleep, an endless queue, any other name."""
    assert blocking(fn) is None


def test_only_helpers_of_the_same_module_are_followed() -> None:
    """What others do inside is not looked into: a library may well hand it to a thread."""
    assert blocking(lambda x: ssl.get_server_certificate(x)) is None
    assert blocking(ssl.get_server_certificate) == "socket.create_connection"


def test_requests_and_httpx_are_known_where_they_live(monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions and methods of sessions; an async client is none of them.  Neither package is needed."""
    package, home = types.ModuleType("requests"), {"__name__": "requests.api"}
    exec("def get(url): ...\nclass Session:\n    def get(self, url): ...", home)
    home["Session"].__module__ = "requests.sessions"
    package.get, package.Session = home["get"], home["Session"]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "requests", package)
    session = package.Session()

    def one(url: Any) -> Any:
        import requests
        return requests.get(url)

    assert blocking(one) == blocking(package.get) == blocking(lambda url: session.get(url)) == "requests.get"
    package.Session.__module__, package.Session.__qualname__ = "httpx._client", "AsyncClient"
    assert blocking(lambda url: session.get(url)) is None


def test_what_a_source_reads_is_looked_at() -> None:
    """A generator, ``iter(get, end)`` and an open file; lists and their iterators block nobody."""
    def polled() -> Any:
        yield QUEUE.get()

    ended = polled()
    ended.close()
    assert reading(polled()) == "queue.Queue.get" and reading(ended) is None
    assert reading(iter(QUEUE.get, None)) == "queue.Queue.get"
    with open(__file__) as file:
        assert reading(file) == "readline of a file"
    assert reading([1]) is reading(iter([1])) is reading("ab") is None


def test_a_name_that_is_not_filled_yet_is_no_error() -> None:
    """A closure over what comes later, a helper that calls itself, a global that does not exist."""
    def early(x: Any) -> Any:
        return later(x) + missing(x)  # type: ignore[name-defined]  # noqa: F821

    def around(x: Any) -> Any:
        return around(x)

    assert blocking(early) is None and blocking(around) is None
    later = len

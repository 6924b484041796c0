"""Functions that the tests of worker processes send there; light, for each worker imports this module."""

from __future__ import annotations

import contextvars
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

HOME = os.getpid()
name: contextvars.ContextVar[Any] = contextvars.ContextVar("name", default="nobody")


def place(x: Any) -> tuple[Any, int]:
    """The item, and the process in which it was handled."""
    return x, os.getpid()


def named(x: Any) -> Any:
    """What the context says, before the function changes it for itself."""
    said = name.get()
    name.set("changed in the worker")
    return said


class Awkward(Exception):
    """Cannot be pickled by itself: its ``__init__`` wants more than its args hold."""

    def __init__(self, code: int, *, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code


def fails(x: Any) -> Any:
    class Local(Exception):
        pass

    errors = {1: Awkward(7, text="seven"), 2: FileNotFoundError(2, "gone", "some.txt"), 3: Local("hidden"),
              4: StopIteration("over")}
    if x not in errors:
        return x
    errors[x].add_note("a note of the function's own")
    raise errors[x] from KeyError("the cause")


def dies(x: Any) -> Any:
    """Kills its own process at item 3."""
    if x == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def exits(x: Any) -> Any:
    os._exit(7)


def dies_once(marker: str, x: Any) -> Any:
    if x == 3 and not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return x, os.getpid()


def stuck(pipe: str, x: Any) -> Any:
    """Hangs at item 1 until somebody writes into the named pipe."""
    if x == 1:
        Path(f"{pipe}.{os.getpid()}").touch()
        Path(pipe).read_bytes()
    return x, os.getpid()


def parent(pipe: str, x: Any) -> Any:
    """Starts a process of its own, tells who it is, and hangs."""
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    Path(f"{pipe}.{child.pid}").touch()
    return Path(pipe).read_bytes()


def dies_with_a_child(pipe: str, x: Any) -> Any:
    """Kills its own process, but leaves one that has whatever files can be inherited."""
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], close_fds=False)
    Path(f"{pipe}.{child.pid}").touch()
    os.kill(os.getpid(), signal.SIGKILL)


class Log:
    """A resource that writes down when it is opened and closed."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __call__(self) -> Log:
        return self

    def say(self, what: str) -> None:
        with open(self.path, "a") as file:
            file.write(f"{what} {os.getpid()}\n")

    def __enter__(self) -> Log:
        self.say("open")
        return self

    def __exit__(self, *_: object) -> None:
        self.say("close")


def logged(log: Log, x: Any, *, twice: bool = False) -> Any:
    log.say("use")
    return x


class Later:
    async def __aenter__(self) -> None: ...
    async def __aexit__(self, *_: object) -> None: ...


def broken() -> Any:
    raise OSError("no such model")


class HereOnly:
    """Pickles, but cannot be read in another process."""

    def __call__(self, x: Any) -> Any:
        return x

    def __getstate__(self) -> int:
        return os.getpid()

    def __setstate__(self, pid: int) -> None:
        raise ImportError("not here")


def unsent(x: Any) -> Any:
    """A result that does not pickle, and one that cannot be read."""
    return (lambda: x) if x == 1 else HereOnly() if x == 2 else x


def big(x: bytes) -> bytes:
    return x * 2


async def waits(x: Any) -> Any:
    return x

"""A worker process as its parent sees it, and what of the parent travels to it."""

from __future__ import annotations

import contextvars
import os
import pickle
import signal
import subprocess
import sys
from typing import Any

import anyio

from kayrx.runtime.places import worker as inside

LOOPS = ("sniffio", "anyio", "asyncio", "trio", "kayrx")
START = "import sys; sys.path[:] = {path!r}; from kayrx.runtime.places.worker import main; main({results}, {bell})"
Answer = tuple[int, bytes]


class Worker:
    """One process and the three pipes to it."""

    def __init__(self) -> None:
        results, far_results = os.pipe()
        bell, far_bell = os.pipe()
        command = [sys.executable, "-c", START.format(path=sys.path, results=far_results, bell=far_bell)]
        try:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(far_results, far_bell),
                                            process_group=0)  # so that it can be killed with its children
        except BaseException:
            os.close(results)
            os.close(bell)
            raise
        finally:
            os.close(far_results)
            os.close(far_bell)
        assert self.process.stdin is not None
        self.requests, self.results, self.bell = self.process.stdin.fileno(), results, bell
        for number in (self.requests, results, bell):
            os.set_blocking(number, False)
        self.read = bytearray()
        self.answers: list[Answer] = []
        self.begun = False
        self.context: bytes | None = None

    async def ask(self, data: bytes, wanted: int) -> list[Answer] | None:
        """Send one frame and wait for ``wanted`` answers; fewer if it dies, None if it dies before it begins."""
        self.begun = False
        if not await self._send(inside.HEAD.pack(0, len(data)) + data):
            return None
        while await self._ring() == inside.MORE:
            while len(self.answers) < wanted and await self._more():
                pass
        while self._take():  # also what a dead worker has left in the pipe
            pass
        answers, self.answers = self.answers, []
        return answers if answers or self.begun else None

    async def _send(self, data: bytes) -> bool:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self.requests, view):]
            except BlockingIOError:
                await anyio.wait_writable(self.requests)
            except BrokenPipeError:
                return False
        return True

    async def _ring(self) -> bytes:
        """Wait for the bell; nothing if the worker has died."""
        while True:
            try:
                return os.read(self.bell, 1)
            except BlockingIOError:
                await anyio.wait_readable(self.bell)

    async def _more(self) -> bool:
        """Wait for results; False if the worker has died."""
        await anyio.wait_readable(self.results)
        return self._take()

    def _take(self) -> bool:
        """Read what is there; False if nothing is."""
        try:
            data = os.read(self.results, 1 << 20)
        except BlockingIOError:
            return False
        self.read += data
        at, size = 0, inside.HEAD.size
        while len(self.read) >= at + size:
            kind, length = inside.HEAD.unpack_from(self.read, at)
            if len(self.read) < at + size + length:
                break
            if kind == inside.BEGUN:
                self.begun = True
            else:
                self.answers.append((kind, bytes(self.read[at + size:at + size + length])))
            at += size + length
        del self.read[:at]
        return bool(data)

    async def gone(self, *, kill: bool) -> int:
        """End it, wait until it has ended, and give its exit code; a cancellation has to wait for it."""
        assert self.process.stdin is not None
        with anyio.CancelScope(shield=True):
            if kill:
                try:
                    os.killpg(self.process.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.process.stdin.close()  # the end of its requests: an idle one leaves by itself
            while self.process.poll() is None:
                await exited(self.process.pid)
        os.close(self.results)
        os.close(self.bell)
        return self.process.returncode


async def exited(pid: int) -> None:
    """Wait for the exit of a child; where the system has no handle for it, a moment."""
    try:
        handle = os.pidfd_open(pid)
    except (AttributeError, OSError):
        await anyio.sleep(0.001)
        return
    try:
        await anyio.wait_readable(handle)
    finally:
        os.close(handle)


def ending(code: int) -> str:
    """An exit code in words."""
    try:
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
    except ValueError:
        return f"was killed by signal {-code}"


def main_module() -> tuple[str, str] | None:
    """How a worker finds what this process runs as ``__main__``; what it defines may come back as __mp_main__."""
    main = sys.modules["__main__"]
    sys.modules.setdefault("__mp_main__", main)
    spec, path = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None:
        return None if spec.name.rpartition(".")[2] == "__main__" else ("name", spec.name)
    return ("path", os.path.abspath(path)) if path is not None else None


class Carried:
    """The context variables that can travel, pickled: those that some module holds by a name."""

    def __init__(self) -> None:
        self.places: dict[contextvars.ContextVar[Any], list[tuple[str, str]]] = {}

    def now(self) -> bytes:
        """What is set in the current context."""
        found = []
        for variable, value in contextvars.copy_context().items():
            if variable not in self.places:
                self._look(variable)
            if self.places[variable]:
                try:
                    found.append((self.places[variable], pickle.dumps(value)))
                except Exception:
                    continue
        return pickle.dumps(found)

    def _look(self, wanted: contextvars.ContextVar[Any]) -> None:
        self.places[wanted] = places = []
        for module, loaded in list(sys.modules.items()):
            if module.partition(".")[0] not in LOOPS:
                places += [(module, name) for name, value in list(vars(loaded).items()) if value is wanted] \
                    if hasattr(loaded, "__dict__") else []

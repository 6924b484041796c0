"""The inside of a worker process, and what both of its ends must agree on.

Items come by one pipe and results leave by another as each is made, so what a worker has finished
is not lost if it dies.  A third pipe is the bell: the parent sleeps on it until a batch is done, and its
end tells of a death.  Nothing but the standard library is imported, so that a start is cheap.
"""

from __future__ import annotations

import contextvars
import io
import os
import pickle
import runpy
import select
import signal
import struct
import sys
import threading
import traceback
import types
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any, BinaryIO

from kayrx.errors import RunError
from kayrx.graph.node import Resource

HEAD = struct.Struct("!BQ")
VALUE, ERROR, READY, BROKEN, BEGUN = range(5)
DONE, MORE = b"d", b"m"
PIPE = 32_768  # bytes that fit into the smallest pipe while nobody reads it

Hello = tuple[bytes, "tuple[str, str] | None", list[str]]
Variables = list[tuple[list[tuple[str, str]], Any]]

importing_main = False
"""True while a worker runs the script that started it, which must not start workers itself."""
busy = False


# -- functions with something opened for them ----------------------------------------------------


def with_open(fn: Any, stack: ExitStack) -> Any:
    """``fn``, with the resources among its bound arguments opened, to be closed by ``stack``."""
    if not isinstance(fn, partial):
        return fn
    keywords = {name: opened(value, stack) for name, value in fn.keywords.items()}
    return partial(fn.func, *(opened(value, stack) for value in fn.args), **keywords)


def opened(value: Any, stack: ExitStack) -> Any:
    if not isinstance(value, Resource):
        return value
    made = value.factory()
    if hasattr(made, "__enter__"):
        return stack.enter_context(made)
    if hasattr(made, "close"):
        stack.callback(made.close)
    elif hasattr(made, "__aenter__") or hasattr(made, "aclose"):
        raise RunError(f"{value!r} opens or closes asynchronously, and a worker has no event loop")
    return made


# -- pickling ------------------------------------------------------------------------------------


class Unpickler(pickle.Unpickler):
    """Runs the parent's script, under another name, once something is wanted that was defined in it."""

    main: tuple[str, str] | None = None

    def find_class(self, module: str, name: str) -> Any:
        if module == "__main__" and Unpickler.main is not None:
            import_main(*Unpickler.main)
            Unpickler.main = None
        return super().find_class(module, name)


def loads(data: bytes) -> Any:
    return Unpickler(io.BytesIO(data)).load()


def import_main(kind: str, what: str) -> None:
    global importing_main
    importing_main = True
    try:
        main = types.ModuleType("__mp_main__")  # the name that multiprocessing uses: a main guard must be false
        main.__dict__.update(runpy.run_module(what, run_name="__mp_main__", alter_sys=True) if kind == "name"
                             else runpy.run_path(what, run_name="__mp_main__"))
        sys.modules["__main__"] = sys.modules["__mp_main__"] = main
    finally:
        importing_main = False


def packed(error: BaseException) -> bytes:
    """An exception for the way back, as (itself, its traceback in words)."""
    trace = error.__traceback__.tb_next if error.__traceback__ else None  # without our own frame
    text = "".join(traceback.format_exception(type(error), error, trace))
    for form in (error, Rebuilt(error)):
        try:
            data = pickle.dumps((form, text))
            pickle.loads(data)
        except Exception:
            continue
        return data
    lost = RunError(f"the function raised {type(error).__module__}.{type(error).__qualname__}, which does not pickle: "
                    f"{error}")
    return pickle.dumps((lost, text))


class Rebuilt:
    """An exception whose own pickling fails, mostly because its ``__init__`` wants other arguments."""

    def __init__(self, error: BaseException) -> None:
        self.kind, self.args, self.state = type(error), error.args, dict(error.__dict__)

    def error(self) -> BaseException:
        made = self.kind.__new__(self.kind, *self.args)
        made.args = self.args
        made.__dict__.update(self.state)
        return made


# -- serving -------------------------------------------------------------------------------------


class Answers:
    """The pipe back, and the bell."""

    def __init__(self, results: int, bell: int) -> None:
        self.results, self.bell = results, bell
        self.unread, self.asked = 0, False

    def send(self, kind: int, data: bytes) -> None:
        frame = HEAD.pack(kind, len(data)) + data
        self.unread += len(frame)
        if self.unread > PIPE and not self.asked:
            self.asked = True
            os.write(self.bell, MORE)
        view = memoryview(frame)
        while view:
            view = view[os.write(self.results, view):]

    def done(self) -> None:
        self.unread, self.asked = 0, False
        os.write(self.bell, DONE)


def main(results: int, bell: int) -> None:
    """Serve the parent until it closes its end, then leave without waiting for anybody's threads."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    requests = os.fdopen(os.dup(0), "rb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    for number in (results, bell):
        os.set_inheritable(number, False)
    threading.Thread(target=watch, args=(requests,), daemon=True).start()
    code = 1
    try:
        serve(requests, Answers(results, bell))
        code = 0
    except BrokenPipeError:
        pass  # the parent is gone
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def watch(requests: BinaryIO) -> None:
    """Once the parent has died in the middle of a call, end with what was started; between two the end is read."""
    hung_up = select.poll()
    hung_up.register(requests, 0)
    hung_up.poll()
    if busy:
        os.killpg(0, signal.SIGKILL)


def frame(requests: BinaryIO) -> bytes | None:
    head = requests.read(HEAD.size)
    return requests.read(HEAD.unpack(head)[1]) if len(head) == HEAD.size else None


def serve(requests: BinaryIO, answers: Answers) -> None:
    global busy
    with ExitStack() as stack:
        first = frame(requests)
        if first is None:
            return
        try:
            fn, Unpickler.main, sys.argv = pickle.loads(first)
            fn = with_open(loads(fn), stack)
        except BaseException as error:
            answers.send(BROKEN, packed(error))
            answers.done()
            return
        answers.send(READY, b"")
        answers.done()
        variables: Variables = []
        while (data := frame(requests)) is not None:
            context, items = pickle.loads(data)
            if context is not None:
                variables = pickle.loads(context)
            answers.send(BEGUN, b"")
            base, busy = context_of(variables), True
            for item in items:
                answers.send(*answer(base.copy(), fn, item))
            busy = False
            answers.done()


def answer(context: contextvars.Context, fn: Callable[[Any], Any], item: bytes) -> tuple[int, bytes]:
    try:
        value = context.run(fn, loads(item))
    except BaseException as error:
        return ERROR, packed(error)
    try:
        return VALUE, pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        refused = RunError(f"the result, a {type(value).__name__}, cannot be sent to another process: {error}")
        return ERROR, packed(refused)


def context_of(variables: Variables) -> contextvars.Context:
    """A context in which the caller's variables are set, those of modules that this process has imported."""
    context = contextvars.Context()
    for places, value in variables:
        for module, name in places:
            found = getattr(sys.modules.get(module), name, None)
            if isinstance(found, contextvars.ContextVar):
                try:
                    context.run(found.set, loads(value))
                except Exception:
                    pass  # a value that cannot be read here is at its default, as the docstring says
                break
    return context

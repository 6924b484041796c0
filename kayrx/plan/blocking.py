"""Known by name: the functions that block their thread, found in what a node calls.

A function is looked up, never called: what it is, and which names its code calls, resolved in its own globals,
closure and imports, through plain functions of the same module.  What is reached by other ways (an attribute of
``self``, a parameter) is not seen here; ``graph.check(trial=items)`` measures it.
"""

from __future__ import annotations

import builtins
import dis
import inspect
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

from kayrx.graph.expr import Expr
from kayrx.nodes.values import unwrapped

VERBS = "get post put patch delete head options request"
PATHS = "open read_text read_bytes write_text write_bytes"
DEPTH = 3  # helpers that call helpers
READS = ("LOAD_GLOBAL", "LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_FAST_BORROW")
ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD")


def _table() -> dict[str, str]:
    """Where a function lives, private parts without their underscore, to what a user calls it."""
    own = ("time.sleep select.select os.system os.wait os.waitpid os.fsync getpass.getpass concurrent.futures.wait "
           "urllib.request.urlopen urllib.request.urlretrieve http.client.HTTPConnection.request "
           "http.client.HTTPConnection.getresponse smtplib.SMTP ftplib.FTP sqlite3.connect "
           "threading.Event.wait threading.Condition.wait threading.Condition.wait_for threading.Barrier.wait "
           "threading.Semaphore.acquire threading.Thread.join queue.Queue.get queue.Queue.put queue.Queue.join "
           "queue.SimpleQueue.get multiprocessing.queues.Queue.get concurrent.futures.Future.result")
    lists = {
        "subprocess": "run call check_call check_output getoutput Popen.wait Popen.communicate",
        "socket": "create_connection getaddrinfo gethostbyname socket.connect socket.accept socket.recv "
                  "socket.recv_into socket.recvfrom socket.send socket.sendall socket.sendfile",
        "shutil": "copy copy2 copyfile copytree move rmtree",
        "urllib3": "PoolManager.request HTTPConnectionPool.request request",
    }
    found = {name: name for name in own.split()}
    found |= {f"{home}.{name}": f"{home}.{name}" for home, names in lists.items() for name in names.split()}
    for verb in VERBS.split():
        found |= {f"requests.{part}{verb}": f"requests.{verb}" for part in ("", "api.", "sessions.Session.")}
        found |= {f"httpx.{part}{verb}": f"httpx.{verb}" for part in ("", "api.", "Client.", "client.Client.")}
    found |= {f"{home}.Path.{name}": f"Path.{name}" for name in PATHS.split() for home in ("pathlib", "pathlib.local")}
    found |= {f"io.{kind}.{name}": f"{name} of a file" for name in ("read", "readline", "readlines", "write")
              for kind in ("TextIOWrapper", "BufferedReader", "BufferedWriter", "BufferedRandom", "FileIO")}
    renamed = {"io.open": "open", "builtins.open": "open", "builtins.input": "input", "posix.system": "os.system",
               "thread.lock.acquire": "threading.Lock.acquire", "thread.RLock.acquire": "threading.RLock.acquire",
               "concurrent.futures.base.Future.result": "concurrent.futures.Future.result",
               "concurrent.futures.base.wait": "concurrent.futures.wait"}
    return found | renamed


BLOCKING = _table()


def blocking(fn: Any) -> str | None:
    """The name of the blocking function that ``fn`` is, or calls; None if none is known.

    >>> import time
    >>> blocking(time.sleep), blocking(lambda x: time.sleep(x)), blocking(str.upper)
    ('time.sleep', 'time.sleep', None)
    """
    if isinstance(fn, Expr):
        return None
    inner = unwrapped(fn)
    named = next((BLOCKING[name] for name in (*names(fn), *names(inner)) if name in BLOCKING), None)
    if named is None and isinstance(inner, FunctionType | inspect.types.MethodType):  # type: ignore[attr-defined]
        return in_function(getattr(inner, "__func__", inner), set())
    return named


def reading(iterable: Any) -> str | None:
    """The name of the blocking function that reading ``iterable`` calls; None if none is known."""
    if inspect.isgenerator(iterable):
        scope = {} if iterable.gi_frame is None else iterable.gi_frame.f_globals
        return in_code(iterable.gi_code, vars(builtins) | scope, scope.get("__name__"), set())
    if type(iterable) is type(iter(int, 1)):
        return blocking(iterable.__reduce__()[1][0])
    kinds = [f"{normal(kind)}.readline" for kind in type(iterable).__mro__]
    return next((BLOCKING[name] for name in kinds if name in BLOCKING), None)


def normal(value: Any) -> str:
    """Where a function or class lives: ``io.TextIOWrapper``."""
    owner = getattr(value, "__objclass__", None)
    module = getattr(value, "__module__", None) or getattr(owner, "__module__", None) or ""
    return bare(f"{module}.{getattr(value, '__qualname__', '')}")


def bare(name: str) -> str:
    return ".".join(part.lstrip("_") for part in name.split("."))


def names(value: Any) -> Iterator[str]:
    """The names by which a function may stand in the table; a bound method by each class it is inherited from."""
    if isinstance(value, ModuleType) or not callable(value):
        return
    owner = getattr(value, "__self__", None)
    if owner is None or isinstance(owner, ModuleType | type):
        yield normal(value)
    elif not (value.__name__ == "put" and getattr(owner, "maxsize", 1) <= 0):  # an endless queue takes at once
        yield from (f"{normal(kind)}.{value.__name__}" for kind in type(owner).__mro__)


# -- what code calls -----------------------------------------------------------------------------


def in_function(fn: Callable[..., Any], seen: set[CodeType]) -> str | None:
    code = fn.__code__
    cells = {}
    for name, cell in zip(code.co_freevars, fn.__closure__ or (), strict=True):
        try:
            cells[name] = cell.cell_contents
        except ValueError:  # not filled yet
            continue
    return in_code(code, vars(builtins) | fn.__globals__ | cells, fn.__module__, seen)


def in_code(code: CodeType, scope: dict[str, Any], module: str | None, seen: set[CodeType]) -> str | None:
    """The first blocking function that the code calls; comprehensions and helpers of the module included."""
    if code in seen or len(seen) >= DEPTH:
        return None
    seen = seen | {code}
    for called in calls(code, scope):
        named = next((BLOCKING[n] for n in called.names() if n in BLOCKING), None)
        helper = called.value
        if named is None and isinstance(helper, FunctionType) and helper.__module__ == module:
            named = in_function(helper, seen)
        if named is not None:
            return named
    inner = (c for c in code.co_consts if isinstance(c, CodeType) and c.co_name.endswith(("comp>", "expr>")))
    return next((n for c in inner if (n := in_code(c, scope, module, seen - {code}))), None)


class Chain:
    """A name and the attributes read of it: what it is, as far as that can be told without running anything."""

    UNKNOWN = object()

    def __init__(self, text: str, value: Any = UNKNOWN) -> None:
        self.text, self.value = text, value
        self.owner: Any = None

    def attribute(self, name: str) -> Chain:
        value = self.value
        held = vars(value).get(name, self.UNKNOWN) if isinstance(value, ModuleType) else \
            inspect.getattr_static(value, name, self.UNKNOWN) if isinstance(value, type) else self.UNKNOWN
        text = value.__name__ if isinstance(value, ModuleType) else normal(value) if isinstance(value, type) \
            else self.text
        found = Chain(f"{text}.{name}", held)
        if value is not self.UNKNOWN and not isinstance(value, ModuleType | type):
            found.owner = (value, name)
        return found

    def names(self) -> Iterator[str]:
        if self.owner is not None:
            value, name = self.owner
            yield from (f"{normal(kind)}.{name}" for kind in type(value).__mro__)
            return
        yield bare(self.text)
        if self.value is not self.UNKNOWN:
            yield from names(self.value)


def calls(code: CodeType, scope: dict[str, Any]) -> Iterator[Chain]:
    """What the code calls, of what can be told by name."""
    local: dict[str, Chain] = {}
    chain: Chain | None = None
    null = False  # lies under what will be called: pushed before it or behind it, from version to version
    steps = [i for i in dis.get_instructions(code) if i.opname not in ("CACHE", "EXTENDED_ARG", "NOP", "PRECALL")]
    for at, step in enumerate(steps):
        before, after = steps[at - 1].opname if at else "", steps[at + 1].opname if at + 1 < len(steps) else ""
        name = step.argval
        if step.opname in READS:
            null = before == "PUSH_NULL"
            known = local if step.opname.startswith("LOAD_FAST") else scope
            chain = as_chain(name, known[name]) if isinstance(name, str) and name in known else None
        elif step.opname == "IMPORT_NAME":
            chain = whole = Chain(name if after == "IMPORT_FROM" else name.partition(".")[0])
        elif step.opname == "IMPORT_FROM":
            chain = whole.attribute(name)
        elif step.opname == "STORE_FAST" and chain is not None and before in ("IMPORT_NAME", "IMPORT_FROM"):
            local[name] = chain
        elif chain is not None and step.opname in ATTRIBUTES:
            chain = chain.attribute(name)
        else:
            chain = None
        null = null or "NULL" in step.argrepr or after == "PUSH_NULL" or step.opname == "LOAD_METHOD"
        if chain is not None and null and step.opname in (*READS, *ATTRIBUTES) and after not in ATTRIBUTES:
            yield chain


def as_chain(name: str, value: Any) -> Chain:
    return value if isinstance(value, Chain) else Chain(name, value)


__all__ = ["BLOCKING", "blocking", "reading"]

"""Checkpoint stores: in memory, in SQLite.

`sqlite_checkpoints` gives a value: it opens nothing, compares by its path and pickles; a run opens it once and
closes it.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import Any, ClassVar

from kayrx.errors import GraphError
from kayrx.graph.node import Opens
from kayrx.io.codecs import Codec, json_codec
from kayrx.io.sqlite import Database

TABLE = "CREATE TABLE IF NOT EXISTS checkpoints (name TEXT PRIMARY KEY, state TEXT NOT NULL)"


@dataclass(frozen=True, slots=True)
class SqliteCheckpoints(Opens):
    """What `sqlite_checkpoints` makes."""

    blocking: ClassVar[bool] = True

    path: str
    fsync: bool = True
    codec: Codec = json_codec

    def __post_init__(self) -> None:
        if not self.path or self.path == ":memory:":
            raise GraphError(f"sqlite_checkpoints({self.path!r}): checkpoints need a file to survive in; "
                             "kx.memory_checkpoints() keeps them in memory")
        if not isinstance(self.codec, Codec):
            raise GraphError(f"sqlite_checkpoints(codec={self.codec!r}): a codec has encode(value), decode(text) and a "
                             "name; kx.pickle_codec is one")

    @property
    def factory(self) -> Any:
        return self.open

    def open(self) -> OpenCheckpoints:
        return OpenCheckpoints(self)


class OpenCheckpoints(Database):
    """An open file of checkpoints, the newest of each name."""

    def __init__(self, spec: SqliteCheckpoints) -> None:
        self.codec = spec.codec
        super().__init__(spec.path, "checkpoint store", {"checkpoints": TABLE}, fsync=spec.fsync)

    def save(self, name: str, state: str) -> None:
        with self.lock, self.telling(), self.transaction():
            self.db.execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?)", (name, state))

    def load(self, name: str) -> str | None:
        with self.lock, self.telling():
            found = self.db.execute("SELECT state FROM checkpoints WHERE name = ?", (name,)).fetchone()
        return None if found is None else found[0]

    def clear(self, name: str) -> None:
        with self.lock, self.telling(), self.transaction():
            self.db.execute("DELETE FROM checkpoints WHERE name = ?", (name,))


class MemoryCheckpoints:
    """Checkpoints for as long as this object lives; what `memory_checkpoints` makes."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self._texts: dict[str, str] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return "memory_checkpoints()"

    def save(self, name: str, state: str) -> None:
        with self._lock:
            self._texts[name] = state

    def load(self, name: str) -> str | None:
        with self._lock:
            return self._texts.get(name)

    def clear(self, name: str) -> None:
        with self._lock:
            self._texts.pop(name, None)

    def close(self) -> None:
        """Its checkpoints stay."""


def memory_checkpoints(*, codec: Codec = json_codec) -> MemoryCheckpoints:
    """A store in memory, for tests and for a graph that is to survive its own failures alone.

    Memory:  the newest checkpoint of each name.

    >>> import kayrx as kx
    >>> store = memory_checkpoints()
    >>> (kx.source([1, 2]) >> kx.checkpoint(store) >> kx.sum()).collect()
    [3]
    >>> (kx.source([1, 2]) >> kx.checkpoint(store) >> kx.sum()).collect(resume=True)
    [3]
    """
    return MemoryCheckpoints(codec)


def sqlite_checkpoints(path: str | os.PathLike[str], *, fsync: bool = True,
                       codec: Codec = json_codec) -> SqliteCheckpoints:
    """A durable store in an SQLite file: the newest checkpoint of each name, replaced in one transaction.

    Durable: WAL with ``synchronous=FULL``, so what was saved survives a killed process and a lost power supply;
             with ``fsync=False`` a killed process alone.  It may be the file of `sqlite_letters` as well.
    States:  written by ``codec``, JSON that gives tuples, sets, bytes, dates and decimals back as they were;
             ``kx.pickle_codec`` writes nearly all; see there for its danger.
    Time:    on an event loop all calls are made in a worker thread.
    Raises:  GraphError, when written, for a path or codec that cannot be one; at run time what SQLite raises.
    Source:  SQLite, "Write-Ahead Logging".

    >>> import kayrx as kx
    >>> sqlite_checkpoints("state.db") == sqlite_checkpoints("state.db")
    True
    """
    return SqliteCheckpoints(os.fspath(path), fsync, codec)


__all__ = ["memory_checkpoints", "sqlite_checkpoints"]

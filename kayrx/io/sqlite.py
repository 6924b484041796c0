"""An open SQLite file: WAL, synced before a call returns, safe for several threads and processes."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from kayrx.errors import RunError

VERSION = 1
PATIENCE = 60.0  # seconds for another process's write


class Database:
    """One connection; its lock makes it safe for several threads, SQLite's own for several processes."""

    def __init__(self, path: str, what: str, tables: dict[str, str], *, fsync: bool) -> None:
        self.path, self.what, self.tables, self.fsync = path, what, tables, fsync
        self.lock = threading.Lock()
        with self.telling():
            self.db = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
            try:
                self.prepare()
            except BaseException:
                self.db.close()
                raise

    def prepare(self) -> None:
        self.write_ahead()
        self.db.execute(f"PRAGMA synchronous = {'FULL' if self.fsync else 'NORMAL'}")
        (version,) = self.db.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise RunError(f"{self.path} was written by a newer kayrx (its version is {version}, ours {VERSION})")
        there = {name for (name,) in self.db.execute("SELECT name FROM sqlite_master")}
        if not {*self.tables} <= there:
            with self.transaction():
                for text in self.tables.values():
                    self.db.execute(text)
                self.db.execute(f"PRAGMA user_version = {VERSION}")

    def write_ahead(self) -> None:
        """Switch to WAL; SQLite does not wait for another process that does so at the same moment, so we do."""
        waited = threading.Event()
        for attempt in range(int(PATIENCE / 0.02)):
            try:
                (mode,) = self.db.execute("PRAGMA journal_mode = WAL").fetchone()
            except sqlite3.OperationalError as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY:
                    raise
            else:
                if mode == "wal":
                    return
                raise RunError(f"{self.path}: the file system cannot keep a write-ahead log (journal mode {mode})")
            waited.wait(0.02 if attempt else 0)
        raise RunError(f"{self.path} is locked by another process")

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Name the file in what SQLite raises, which itself does not."""
        try:
            yield
        except sqlite3.Error as error:
            error.add_note(f"kayrx: in the {self.what} {self.path}")
            raise

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; on disk when it is left."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.db.execute("COMMIT")
        except BaseException:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            raise

    def close(self) -> None:
        with self.lock:
            self.db.close()

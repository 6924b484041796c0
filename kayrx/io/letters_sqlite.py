"""An open SQLite store of letters."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kayrx.errors import RunError
from kayrx.io import records
from kayrx.io.letters import damaged, known
from kayrx.nodes.letters import Letter

if TYPE_CHECKING:
    from kayrx.io.letters import SqliteLetters

VERSION = 1
PATIENCE = 60.0  # seconds for another process's write
PAGE = 64        # letters read at a time, so that a slow reader holds no lock
TABLE = """
CREATE TABLE IF NOT EXISTS letters (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, same TEXT NOT NULL, done INTEGER NOT NULL, line TEXT NOT NULL
)"""
INDEX = "CREATE INDEX IF NOT EXISTS open_letters ON letters (number) WHERE done = 0"


class OpenSqlite:
    """One connection; its lock makes it safe for several threads, SQLite's own for several processes."""

    def __init__(self, spec: SqliteLetters) -> None:
        self.spec = spec
        self.lock = threading.Lock()
        with self.telling():
            self.db = sqlite3.connect(spec.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
            try:
                self.prepare()
            except BaseException:
                self.db.close()
                raise

    def prepare(self) -> None:
        self.write_ahead()
        self.db.execute(f"PRAGMA synchronous = {'FULL' if self.spec.fsync else 'NORMAL'}")
        (version,) = self.db.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise RunError(f"{self.spec.path} was written by a newer kayrx (its version is {version}, ours {VERSION})")
        if version == 0:
            with self.transaction():
                self.db.execute(TABLE)
                self.db.execute(INDEX)
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
                raise RunError(f"{self.spec.path}: the file system cannot keep a write-ahead log (journal mode {mode})")
            waited.wait(0.02 if attempt else 0)
        raise RunError(f"{self.spec.path} is locked by another process")

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Name the file in what SQLite raises, which itself does not."""
        try:
            yield
        except sqlite3.Error as error:
            error.add_note(f"kayrx: in the letter store {self.spec.path}")
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

    def append(self, letter: Letter) -> bool:
        new = records.written(letter, self.spec.codec)
        with self.lock, self.telling(), self.transaction():
            found = self.db.execute("SELECT same, line FROM letters WHERE id = ?", (new.id,)).fetchone()
            if found is None:
                self.db.execute("INSERT INTO letters (id, same, done, line) VALUES (?, ?, 0, ?)",
                                (new.id, new.same, new.line))
            else:
                records.check_same(new, letter, found[0], lambda: records.letter_of(found[1], self.spec.codec))
                self.db.execute("UPDATE letters SET same = ?, done = 0, line = ? WHERE id = ?",
                                (new.same, new.line, new.id))
        return new.unread

    def items(self, done: bool | None = False) -> Iterator[Letter]:
        which = "" if done is None else f"AND done = {int(done)}"
        query = ("SELECT number, line FROM letters "
                 f"WHERE number > ? AND number <= ? {which} ORDER BY number LIMIT {PAGE}")
        with self.lock, self.telling():
            (last,) = self.db.execute("SELECT coalesce(max(number), 0) FROM letters").fetchone()
        number = 0
        while True:
            with self.lock, self.telling():
                page = self.db.execute(query, (number, last)).fetchall()
            for number, line in page:
                try:
                    letter = records.letter_of(line, self.spec.codec)
                except (records.Damaged, ValueError, KeyError, TypeError):
                    damaged(self.spec.path, f"letter {number}")
                    continue
                yield letter
            if len(page) < PAGE:
                return

    def mark_done(self, *ids: str) -> None:
        with self.lock, self.telling(), self.transaction():
            for key in ids:
                if not self.db.execute("UPDATE letters SET done = 1 WHERE id = ?", (key,)).rowcount:
                    known((key,), ())

    def close(self) -> None:
        with self.lock:
            self.db.close()

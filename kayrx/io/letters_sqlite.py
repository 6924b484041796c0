"""An open SQLite store of letters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kayrx.io import records
from kayrx.io.letters import damaged, known
from kayrx.io.sqlite import Database
from kayrx.nodes.letters import Letter

if TYPE_CHECKING:
    from kayrx.io.letters import SqliteLetters

PAGE = 64  # letters read at a time, so that a slow reader holds no lock
TABLE = """
CREATE TABLE IF NOT EXISTS letters (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, same TEXT NOT NULL, done INTEGER NOT NULL, line TEXT NOT NULL
)"""
INDEX = "CREATE INDEX IF NOT EXISTS open_letters ON letters (number) WHERE done = 0"


class OpenSqlite(Database):
    """A store in one file."""

    def __init__(self, spec: SqliteLetters) -> None:
        self.spec = spec
        super().__init__(spec.path, "letter store", {"letters": TABLE, "open_letters": INDEX}, fsync=spec.fsync)

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
                except records.Damaged:
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

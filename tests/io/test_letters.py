"""Letter stores: one table of stores, the same laws for each."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, strategies as st

import kayrx as kx
from kayrx.io import records
from kayrx.io.codecs import json_codec
from kayrx.nodes.letters import StoredError, Unread

STORES: dict[str, Callable[[Path], Any]] = {
    "memory": lambda folder: kx.memory_letters(100),
    "json lines": lambda folder: kx.json_letters(folder / "letters.jsonl"),
    "sqlite": lambda folder: kx.sqlite_letters(folder / "letters.db"),
    "json lines, unsynced": lambda folder: kx.json_letters(folder / "letters.jsonl", fsync=False),
    "sqlite, unsynced": lambda folder: kx.sqlite_letters(folder / "letters.db", fsync=False),
    "json lines, pickled": lambda folder: kx.json_letters(folder / "letters.jsonl", codec=kx.pickle_codec),
    "sqlite, pickled": lambda folder: kx.sqlite_letters(folder / "letters.db", codec=kx.pickle_codec),
}
FILES = [name for name in STORES if name != "memory"]


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return STORES[request.param](tmp_path)


@pytest.fixture(params=FILES)
def on_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return STORES[request.param](tmp_path)


def letter(key: str, item: Any = None, **more: Any) -> kx.Letter:
    facts: dict[str, Any] = {"node": "ask", "error": ValueError("no"), "traceback": "Traceback ...", "attempts": 3,
                             "time": 1.5, "graph": "answers", "failed_at": "parse",
                             "context": {"run": "r1", "position": ["source", 0, 7]}}
    return kx.Letter(id=key, item=item, **{**facts, **more})


class Odd:
    """Nothing that JSON or pickle could write."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


class Worse(Odd):
    def __repr__(self) -> str:
        raise OSError("not even this")


# -- what every store does -----------------------------------------------------------------------


def test_letters_come_back_in_order_and_whole(store: Any) -> None:
    """Every field but the error object itself, whose type's name and text are kept."""
    kept = [letter("a", "x"), letter("b", {"n": [1, None, 2.5]}, attempts=1), letter("c", None, error=KeyError("k"))]
    for one in kept:
        store.append(one)

    found = list(store.items())
    assert [replace(x, error=None) for x in found] == [replace(x, error=None) for x in kept]
    assert [(x.kind, str(x.error)) for x in found] == [("ValueError", "no"), ("ValueError", "no"), ("KeyError", "'k'")]
    assert all(x.replayable for x in found)


def test_what_is_done_is_open_no_more(store: Any) -> None:
    """It is kept all the same; marking it again changes nothing."""
    for key in "abc":
        store.append(letter(key))

    store.mark_done("a", "c")
    store.mark_done("c")
    store.mark_done()

    assert [x.id for x in store.items()] == ["b"]
    assert [x.id for x in store.items(done=True)] == ["a", "c"]
    assert [x.id for x in store.items(done=None)] == ["a", "b", "c"]


def test_an_unknown_id_is_an_error_and_marks_nothing(store: Any) -> None:
    """All or nothing."""
    store.append(letter("a"))

    with pytest.raises(LookupError, match="no letter 'z'"):
        store.mark_done("a", "z")
    assert [x.id for x in store.items()] == ["a"]


def test_the_same_letter_again_replaces_the_one_that_is_there(store: Any) -> None:
    """It keeps its place, and one that was done is open again."""
    store.append(letter("a", {"x": 1, "y": 2}))
    store.append(letter("b"))
    store.mark_done("a")

    store.append(letter("a", {"y": 2, "x": 1}, attempts=6))

    assert [(x.id, x.attempts) for x in store.items()] == [("a", 6), ("b", 3)]
    assert list(store.items(done=True)) == []


def test_an_equal_key_with_another_item_is_an_error(store: Any) -> None:
    """Never a silent skip (ruling 16); the letter that is there stays."""
    store.append(letter("a", "one"))

    with pytest.raises(kx.RunError, match=r"'a' is in the store with another item.*Name the graph anew"):
        store.append(letter("a", "other"))
    assert [x.item for x in store.items()] == ["one"]


def test_threads_may_write_at_once(store: Any) -> None:
    """Through one object: nothing lost, nothing doubled."""
    threads = [threading.Thread(target=lambda t=t: [store.append(letter(f"{t}-{n}", n)) for n in range(5)])
               for t in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(x.id for x in store.items()) == sorted(f"{t}-{n}" for t in range(4) for n in range(5))


def test_reading_may_be_interleaved_with_writing(store: Any) -> None:
    """A reader sees what was there when it began, each letter once."""
    for number in range(70):
        store.append(letter(f"{number}"))
    seen = []
    for one in store.items():
        seen.append(one.id)
        if len(seen) == 1:
            store.append(letter("1", attempts=9))
            store.append(letter("new"))
            store.mark_done("69")
    assert [*map(str, range(69))] == [x for x in seen if x != "69"]


def test_every_store_is_a_letter_store(store: Any) -> None:
    """The protocol is what users write their own by."""
    assert isinstance(store, kx.LetterStore)
    assert store.close() is None


# -- in memory -----------------------------------------------------------------------------------


def test_memory_is_bounded() -> None:
    """The oldest done letter makes room; where none is done the letter is refused, with the remedies."""
    store = kx.memory_letters(2)
    store.append(letter("a"))
    store.append(letter("b"))
    with pytest.raises(kx.RunError, match=r"full of letters that are not done.*sqlite_letters"):
        store.append(letter("c"))
    store.append(letter("b", attempts=4))  # no new one
    store.mark_done("a")
    store.append(letter("c"))

    assert [x.id for x in store.items(done=None)] == ["b", "c"]
    with pytest.raises(kx.GraphError, match="max must be a whole number"):
        kx.memory_letters(0)


def test_memory_keeps_items_and_errors_as_they_are() -> None:
    """Nothing is written, so nothing is lost."""
    store, one = kx.memory_letters(2), letter("a", Odd())
    store.append(one)

    assert next(iter(store.items())) is one
    assert not hasattr(store, "path") and repr(store) == "memory_letters(2)"


# -- on disk -------------------------------------------------------------------------------------


def test_a_store_on_disk_is_a_value(on_disk: Any, tmp_path: Path) -> None:
    """Written, it opens nothing; equal by value; it pickles, and so does a graph that holds it."""
    assert os.listdir(tmp_path) == []
    assert list(on_disk.items()) == [] and os.listdir(tmp_path) == []
    assert pickle.loads(pickle.dumps(on_disk)) == on_disk
    graph = kx.source([1]) >> kx.map(abs) >> kx.dead_letter(on_disk)
    assert pickle.loads(pickle.dumps(graph)) == graph
    assert type(on_disk)(on_disk.path + "2") != on_disk


def test_a_store_in_memory_cannot_leave_the_process() -> None:
    """A copy that nobody reads would be a silent loss."""
    with pytest.raises(kx.GraphError, match=r"dead_letter.* holds a live object"):
        pickle.dumps(kx.source([1]) >> kx.map(abs) >> kx.dead_letter(kx.memory_letters(1)))


def test_letters_survive_being_closed(on_disk: Any) -> None:
    """What one opening has written another reads."""
    on_disk.append(letter("a", "x"))
    with_open = on_disk.factory()
    with_open.append(letter("b", "y"))
    with_open.close()

    assert [x.item for x in on_disk.items()] == ["x", "y"]


def test_two_openings_see_each_other(on_disk: Any) -> None:
    """What another has written since is known before anything is decided."""
    one, other = on_disk.factory(), on_disk.factory()
    one.append(letter("a", "x"))
    with pytest.raises(kx.RunError, match="another item"):
        other.append(letter("a", "y"))
    other.append(letter("b", "z"))
    one.mark_done("b")
    assert [x.id for x in other.items()] == ["a"]
    one.close()
    other.close()


@pytest.mark.parametrize("make", [kx.sqlite_letters, kx.json_letters])
def test_bad_arguments_are_refused_when_written(make: Any) -> None:
    """Before anything is opened."""
    for path in ("", ":memory:"):
        with pytest.raises(kx.GraphError, match=r"memory_letters\(max\)"):
            make(path)
    with pytest.raises(kx.GraphError, match="a codec has encode"):
        make("x", codec=pickle)


def test_a_file_that_is_no_store_is_an_error_that_names_it(tmp_path: Path) -> None:
    """And it is left as it is."""
    path = tmp_path / "notes.db"
    path.write_text("these are my notes, and no database at all\n" * 50)
    with pytest.raises(Exception, match="not a database") as caught:
        kx.sqlite_letters(path).append(letter("a"))
    assert f"kayrx: in the letter store {path}" in caught.value.__notes__
    assert path.read_text().startswith("these are my notes")


# -- items ---------------------------------------------------------------------------------------

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
    | st.datetimes() | st.dates() | st.decimals(allow_nan=False) | st.uuids(),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner)
    | st.dictionaries(st.text() | st.just("$") | st.integers(), inner, max_size=3)
    | st.frozensets(st.integers() | st.text(), max_size=3) | st.sets(st.binary(), max_size=3), max_leaves=8)


@given(PLAIN)
def test_json_gives_items_back_as_they_were(item: Any) -> None:
    """Equal, and of the same types all the way down; else they are not written as JSON at all."""
    found = records.letter_of(records.written(letter("a", item), json_codec).line, json_codec).item

    assert found == item and repr(found).count("(") == repr(item).count("(") and type(found) is type(item)


def test_json_keeps_what_json_has_no_form_for() -> None:
    """Each with its type; text that UTF-8 cannot write as well."""
    item = {"$": (1, 2), 3: float("inf"), "s": "\ud800", "t": datetime(2026, 1, 2, tzinfo=UTC),
            "d": date(2026, 1, 2), "u": UUID(int=7), "m": Decimal("1.10"), "x": {b"\x00"}}
    assert json_codec.decode(json_codec.encode(item)) == item


@pytest.mark.parametrize("item", [Odd(), Worse(), [1, Odd()], {"deep": (Odd(),)}], ids=lambda x: type(x).__name__)
def test_an_item_that_cannot_be_written_is_kept_as_text(on_disk: Any, item: Any) -> None:
    """With a clear mark: never lost silently, and never sent in again as if it were the item."""
    assert on_disk.append(letter("a", item)) is True
    on_disk.append(letter("a", item, attempts=4))  # and is the same item the next time

    (found,) = on_disk.items()
    assert not found.replayable
    assert isinstance(found.item, Unread) and found.item.form == "repr" and found.item.why
    assert "Odd" in str(found.item) or "Worse, whose repr raised OSError" in str(found.item)


def test_an_item_that_holds_itself_is_kept_as_text(tmp_path: Path) -> None:
    """As is one that is nested too deep."""
    item: list[Any] = []
    item.append(item)
    store = kx.sqlite_letters(tmp_path / "x.db")
    store.append(letter("a", item))

    (found,) = store.items()
    assert str(found.item) == "[[...]]" and "RecursionError" in found.item.why


def test_only_the_codec_that_wrote_an_item_reads_it(tmp_path: Path) -> None:
    """Above all, no pickle is read by a store that was not told to."""
    path = tmp_path / "letters.db"
    kx.sqlite_letters(path, codec=kx.pickle_codec).append(letter("a", {1j}))

    (found,) = kx.sqlite_letters(path).items()
    assert not found.replayable and "open the store with it" in found.item.why
    (read,) = kx.sqlite_letters(path, codec=kx.pickle_codec).items()
    assert read.item == {1j} and read.replayable


class Upper:
    name = "upper"

    def encode(self, item: str) -> str:
        return item.upper()

    def decode(self, text: str) -> str:
        if text == "GONE":
            raise LookupError("no such class any more")
        return text.lower()


def test_a_codec_is_three_things(tmp_path: Path) -> None:
    """A name, encode and decode; what it cannot read any more is shown and not replayed."""
    store = kx.json_letters(tmp_path / "x.jsonl", codec=Upper())
    for word in ("here", "gone"):
        store.append(letter(word, word))

    here, gone = store.items()
    assert here.item == "here"
    assert not gone.replayable and str(gone.item) == "GONE" and "no such class" in gone.item.why
    assert isinstance(Upper(), kx.Codec)


def test_a_stored_error_says_what_it_stands_for() -> None:
    """Also after a journey to another process."""
    error = pickle.loads(pickle.dumps(StoredError("app.Refused", "no")))
    assert repr(error) == "StoredError('app.Refused', 'no')" and letter("a", error=error).kind == "app.Refused"


# -- damage --------------------------------------------------------------------------------------


def three(path: Path) -> Any:
    store = kx.json_letters(path)
    for key in "abc":
        store.append(letter(key, key * 3))
    return store


@pytest.mark.parametrize("cut", [1, 2, 40, -1])
def test_a_torn_tail_is_left_out_and_cut_off(tmp_path: Path, cut: int) -> None:
    """It was never acknowledged; what follows is not glued to it."""
    path = tmp_path / "letters.jsonl"
    store = three(path)
    data = path.read_bytes()
    last = data[:-1].rindex(b"\n") + 1
    path.write_bytes(data[:last + cut] if cut > 0 else data[:-1])

    assert [x.id for x in store.items()] == ["a", "b"]
    store.append(letter("d"))
    assert [x.id for x in store.items()] == ["a", "b", "d"]
    assert path.read_bytes().endswith(b"\n") and len(path.read_bytes().splitlines()) == 3


def test_a_flipped_byte_costs_one_line_and_is_told(tmp_path: Path) -> None:
    """Wherever it is: the check sum covers the item as well."""
    path = tmp_path / "letters.jsonl"
    store = three(path)
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    for at in range(len(lines[0]), len(lines[0]) + len(lines[1]) - 1, 7):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1:])
        with pytest.warns(RuntimeWarning, match="is damaged and is left out"):
            assert [x.item for x in store.items()] == ["aaa", "ccc"]


def test_a_flipped_byte_in_a_row_is_told(tmp_path: Path) -> None:
    """SQLite keeps no check sums; the line in the row does."""
    path = tmp_path / "letters.db"
    store = kx.sqlite_letters(path)
    for key in "abc":
        store.append(letter(key, key * 30))
    data = path.read_bytes()
    path.write_bytes(data.replace(b"b" * 30, b"b" * 29 + b"c"))

    with pytest.warns(RuntimeWarning, match="letter 2 is damaged"):
        assert [x.id for x in store.items()] == ["a", "c"]


def test_other_programs_can_read_the_lines(tmp_path: Path) -> None:
    """Each is JSON, with the item in it as JSON."""
    import json

    path = tmp_path / "letters.jsonl"
    three(path).mark_done("b")

    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [x.get("item") for x in lines] == [{"json": "aaa"}, {"json": "bbb"}, {"json": "ccc"}, None]
    assert lines[3]["done"] == ["b"]


def test_a_file_that_was_emptied_is_read_anew(tmp_path: Path) -> None:
    """By whoever has it open."""
    path = tmp_path / "letters.jsonl"
    opened = three(path).factory()
    path.write_bytes(b"")
    opened.append(letter("d"))

    assert [x.id for x in opened.items()] == ["d"]
    opened.close()

"""``kayrx letters``: what a user sees of letters, in the terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import kayrx as kx
from kayrx.cli import app

APP = """
import os
import kayrx as kx

class Odd: pass

def parse(x):
    if x in ("bad", "worse") and not os.path.exists("fixed"):
        raise ValueError(f"no good: {x}\\nat all")
    if isinstance(x, Odd):
        raise TypeError("odd")
    return x

letters = kx.dead_letter(kx.sqlite_letters("failed.db"))
answers = (kx.source(["a", "bad", ("worse", 1), Odd(), "worse"]) >> kx.map(parse) >> letters >> kx.to_list()).named("g")
two = kx.source([1]) >> kx.map(parse) >> letters >> kx.map(parse) >> kx.dead_letter(kx.json_letters("other.jsonl"))
none = kx.source([1]) >> kx.map(parse)
number = 3

def made():
    return answers
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A folder with an app in it, whose graph has run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "letters_app.py").write_text(APP)
    sys.modules.pop("letters_app", None)
    import letters_app  # type: ignore[import-not-found]

    assert letters_app.answers.run() == ["a", ("worse", 1)]
    yield tmp_path
    sys.modules.pop("letters_app", None)


def letters(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app(), ["letters", *arguments])
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.output


BAD = "g/g.parse/g.source/0/1"


def test_list_shows_the_open_letters() -> None:
    """Two lines a letter and their number; options choose."""
    out = letters("list", "letters_app:answers").splitlines()
    assert out[:2] == [BAD, "    'bad'"] and out[2].startswith("    ValueError: no good: bad at all; 1 attempt, 20")
    assert "[repr only] <letters_app.Odd object" in "".join(out) and out[-1] == "3 open"
    assert letters("list", "letters_app:made", "--error", "TypeError").splitlines()[-1] == "1 open"
    assert letters("list", "letters_app:answers", "--node", "else") == "0 open\n"
    assert letters("list", "letters_app:answers", "--node", "parse") == letters("list", "letters_app:answers")
    assert letters("list", "letters_app:answers", "--limit", "2").splitlines()[-1] == "the first 2 open"
    assert letters("list", "letters_app:answers", "--limit", "3").splitlines()[-1] == "3 open"
    assert letters("list", "letters_app:answers", "--done") == "0 done\n"


def test_show_tells_all_of_one() -> None:
    """The traceback as well."""
    out = letters("show", "letters_app:answers", BAD)
    assert "item:      'bad'\n" in out and "failed_at: g.parse\n" in out and "written:   letters_app.py:15\n" in out
    assert "Traceback (most recent call last):" in out and 'raise ValueError(f"no good' in out
    assert letters("show", "letters_app:answers", "nope", code=1) == "error: there is no letter 'nope' in the store\n"


def test_replay_sends_letters_in_again(project: Path) -> None:
    """All of them, or those that are named; it ends with 1 while something is left to do."""
    said = letters("replay", "letters_app:answers", code=1).splitlines()
    assert said[0] == "0 done, 2 failed again, 1 left; 0 of other graphs"
    assert said[1:] == ["left: 1 of which only a text was kept (repr): replay them by hand, then mark_done(id)"]
    (project / "fixed").touch()
    assert letters("replay", "letters_app:answers", BAD) == "1 done, 0 failed again, 0 left; 0 of other graphs\n"
    assert letters("replay", "letters_app:answers", "--error", "ValueError").startswith("1 done")
    assert letters("list", "letters_app:answers", "--done").splitlines()[-1] == "2 done"
    assert letters("replay", "letters_app:answers", "--graph", "else", code=0).endswith("1 of other graphs\n")


def test_what_is_left_is_explained(project: Path) -> None:
    """A node that was renamed is the usual reason."""
    app = (project / "letters_app.py").read_text()
    (project / "letters_app.py").write_text(app.replace("kx.map(parse) >> letters >> kx.to_list", "kx.map("
                                                        "parse).named('renamed') >> letters >> kx.to_list"))
    sys.modules.pop("letters_app")
    said = letters("replay", "letters_app:answers", code=1).splitlines()
    assert said == ["0 done, 0 failed again, 3 left; 0 of other graphs",
                    "left: 3 of the node 'g.parse', which the graph does not have; those with letters are 'g.renamed'"]


def test_who_has_read_enough_hears_no_complaint() -> None:
    """``kayrx letters list ... | head``"""
    path = f"{Path(__file__).parents[2]}:."
    command = f"{sys.executable} -c 'from kayrx.cli import main; main()' letters list letters_app:answers"
    shown = subprocess.run(f"{command} | true", shell=True, capture_output=True, text=True,
                           env={**os.environ, "PYTHONPATH": path})
    assert (shown.stdout, shown.stderr) == ("", "")


def test_export_is_json_lines(project: Path) -> None:
    """For other programs; items as JSON, where they have such a form."""
    lines = [json.loads(line) for line in letters("export", "letters_app:answers").splitlines()]
    assert [x["item"] for x in lines] == ["bad", None, "worse"]
    assert "item_text" not in lines[0] and lines[1]["item_text"].startswith("[repr only]")
    assert lines[0]["position"] == ["g.source", 0, 1]
    letters("export", "letters_app:answers", "--output", "out.jsonl", "--error", "ValueError")
    assert len((project / "out.jsonl").read_text().splitlines()) == 2


def test_the_store_is_the_graphs_or_the_one_that_is_named(project: Path) -> None:
    """A file that ends in .jsonl is JSON lines."""
    assert letters("list", "letters_app:answers", "--store", "failed.db").endswith("3 open\n")
    kx.json_letters(project / "x.jsonl").append(kx.Letter("k", 1, "n", ValueError("v"), "", 1, 0.0))
    assert letters("list", "letters_app:none", "--store", "x.jsonl").endswith("1 open\n")
    assert "the graph has 2 stores on disk: failed.db" in flat(letters("list", "letters_app:two", code=2))
    assert "the graph has 0 stores on disk; say which" in flat(letters("list", "letters_app:none", code=2))


@pytest.mark.parametrize(("target", "said"), [
    ("letters_app", "write module:graph"), ("nowhere:g", "there is no module 'nowhere' here"),
    ("letters_app:nope", "letters_app has no 'nope'"), ("letters_app:number", "is a int, not a graph"),
])
def test_a_wrong_target_says_what_is_wrong(target: str, said: str) -> None:
    """Without a traceback."""
    assert said in flat(letters("list", target, code=2))


def test_what_is_not_there_is_no_empty_store(project: Path) -> None:
    """A file or an id that was mistyped is an error, and no file is made; neither shows a traceback."""
    assert "there is no file 'no.db'" in flat(letters("list", "letters_app:answers", "--store", "no.db", code=2))
    assert not (project / "no.db").exists()
    assert letters("replay", "letters_app:answers", "nope", BAD, code=1) == \
        "error: there is no open letter 'nope' in the store\n"
    (project / "app.db").write_text("not a database " * 99)
    said = letters("list", "letters_app:answers", "--store", "app.db", code=1)
    assert said == "error: file is not a database; kayrx: in the letter store app.db\n"


def test_any_text_can_be_shown() -> None:
    """Half a surrogate pair in an item's error, which UTF-8 cannot write, is shown escaped."""
    kx.sqlite_letters("failed.db").append(kx.Letter("k", "x", "g.parse", ValueError("\ud800!"), "", 1, 0.0))
    assert r"ValueError: \ud800!" in letters("list", "letters_app:answers")
    assert r"ValueError: \ud800!" in letters("show", "letters_app:answers", "k")


def flat(text: str) -> str:
    return " ".join(text.replace("│", " ").split())

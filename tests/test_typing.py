"""Types: mypy --strict over tests/typing/api.py, pyright over annotated.py beside it; every line there is a claim."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

API = Path(__file__).parent / "typing" / "api.py"
ANNOTATED = API.with_name("annotated.py")


def mypy(path: Path, tmp: Path) -> str:
    command = [sys.executable, "-m", "mypy", "--strict", "--warn-unused-ignores", "--no-error-summary",
               "--config-file", "", "--cache-dir", str(API.parents[2] / ".mypy_cache" / "api"), str(path)]
    return subprocess.run(command, capture_output=True, text=True, cwd=API.parents[2], timeout=300).stdout


def pyright(path: Path) -> list[str]:
    """The errors and warnings that pyright sees in a file; its node.js comes with it, so nothing is fetched."""
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, str(path)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=API.parents[2], timeout=300)
    return [f"{d['range']['start']['line'] + 1}: {d['message']}" for d in json.loads(run.stdout)["generalDiagnostics"]]


def test_the_types_of_the_public_names_hold(tmp_path: Path) -> None:
    """Types survive any length of pipeline, and a wrong join is a type error in the editor."""
    wrong = [line for line in mypy(API, tmp_path).splitlines() if "api.py" in line]

    assert wrong == []


def test_a_false_claim_is_found(tmp_path: Path) -> None:
    """The test above is shown red."""
    false = tmp_path / "false.py"
    false.write_text("import kayrx as kx\nfrom typing import assert_type\n"
                     "assert_type(kx.source(['a']).collect(), list[int])\n"
                     "kx.take(2)  # type: ignore[arg-type]\n")

    out = mypy(false, tmp_path)
    assert "assert-type" in out and "unused" in out.lower()


def test_pyright_passes_on_annotated_functions() -> None:
    """What an editor shows along a pipeline, and the joins that it marks as wrong."""
    assert pyright(ANNOTATED) == []


def test_pyright_finds_a_false_claim(tmp_path: Path) -> None:
    """The test above is shown red: by a wrong type, and by a line that is said to be wrong and is not."""
    false = tmp_path / "false.py"
    false.write_text("# pyright: reportUnnecessaryTypeIgnoreComment=error\nimport kayrx as kx\n"
                     "from typing import assert_type\nassert_type(kx.source(['a']).collect(), list[int])\n"
                     "kx.take(2)  # pyright: ignore\n")

    assert [line[:2] for line in pyright(false)] == ["4:", "5:"]

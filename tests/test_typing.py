"""Types: mypy --strict over tests/typing/api.py, where every line is a claim."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

API = Path(__file__).parent / "typing" / "api.py"


def mypy(path: Path, tmp: Path) -> str:
    command = [sys.executable, "-m", "mypy", "--strict", "--warn-unused-ignores", "--no-error-summary",
               "--config-file", "", "--cache-dir", str(API.parents[2] / ".mypy_cache" / "api"), str(path)]
    return subprocess.run(command, capture_output=True, text=True, cwd=API.parents[2], timeout=300).stdout


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

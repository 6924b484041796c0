"""What we show is what happens: the README and the notebooks are run."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_the_pipeline_of_the_readme_prints_what_the_readme_says() -> None:
    """The README's code block prints its two text blocks, to the letter."""
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    shown = "".join(re.findall(r"```text\n(.*?)```", README, re.S))
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "README.md", "exec"), {})
    assert out.getvalue() == shown


def test_the_readme_is_short_and_names_every_public_name() -> None:
    """At most 120 lines, and each name of ``kayrx.__all__`` stands in it."""
    import kayrx

    assert len(README.splitlines()) < 120
    assert [name for name in kayrx.__all__ if not re.search(rf"\b{name}\b", README)] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
@pytest.mark.filterwarnings("ignore")
def test_a_notebook_runs_from_top_to_bottom(path: Path) -> None:
    """Every cell runs in a fresh kernel, and its asserts hold."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}).execute()

"""What we show is what happens: the README and the notebooks are run."""

from __future__ import annotations

import contextlib
import io
import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from kayrx.nodes.differences import DIFFERENCES
from kayrx.nodes.orders import ORDERS

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
    """Every cell runs in a fresh kernel, its asserts hold, and the output kept with it is what comes out."""
    notebook = nbformat.read(path, as_version=4)
    kept = given(notebook)
    described = dict(notebook.metadata)
    NotebookClient(notebook, timeout=120, kernel_name="python3", record_timing=False, coalesce_streams=True,
                   resources={"metadata": {"path": str(ROOT)}}).execute()
    if os.environ.get("KAYRX_KEEP"):
        notebook.metadata.update(described)  # the kernel's own version of Python is no news
        nbformat.write(notebook, path)

    assert given(notebook) == kept, "to keep what comes out: KAYRX_KEEP=1 python -m pytest tests/test_docs.py"


def given(notebook: nbformat.NotebookNode) -> list[tuple[str, dict[str, str]]]:
    """What each code cell printed and showed."""
    cells = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    return [("".join(x.text for x in outputs if x.output_type == "stream"),
             {kind: text for x in outputs for kind, text in x.get("data", {}).items()}) for outputs in cells]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_section_of_a_notebook_ends_in_an_assert(path: Path) -> None:
    """One idea a cell: what a section has shown is held in its last code cell."""
    sections: list[list[str]] = []
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown" and cell.source.startswith("#"):
            sections.append([])
        elif cell.cell_type == "code":
            sections[-1].append(cell.source)

    assert [codes[-1] for codes in sections if codes and "assert " not in codes[-1]] == []


@pytest.mark.parametrize(("home", "rows"), [
    ("differences", [f"| {d.name} | {d.rxpy} | {d.kayrx} | {d.why} |" for d in DIFFERENCES]),
    ("orders", [f"| `{order.written}` | {order.meaning} |" for order in ORDERS])], ids=["differences", "orders"])
def test_the_tables_are_shown(home: str, rows: list[str]) -> None:
    """The differences from RxPY, and what guards mean in every order, stand in a notebook; the README leads there."""
    (path,) = [p for p in NOTEBOOKS if f"kayrx.nodes.{home}" in p.read_text(encoding="utf-8")]
    (table,) = [text for _, shown in given(nbformat.read(path, as_version=4))
                for kind, text in shown.items() if kind == "text/markdown"]

    assert table.splitlines()[2:] == rows and f"notebooks/{path.name}" in README

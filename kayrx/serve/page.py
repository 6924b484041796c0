"""The page that a browser gets: the stream, the graph with its figures, errors, and buttons to stop and resume."""

from __future__ import annotations

import html as escaping
import json
from pathlib import Path
from typing import Any

from kayrx.errors import KayrxError
from kayrx.graph.graph import Graph

PAGE = Path(__file__).with_name("page.html")


def html(graph: Graph[Any, Any] | object, path: str, control: bool) -> str:
    """The page for a graph that is mounted at ``path``; it loads nothing from anywhere else."""
    settings = {"path": path, "control": control or not isinstance(graph, Graph), "shared": isinstance(graph, Graph)}
    # "<" would let a path end the script.
    return (PAGE.read_text(encoding="utf-8")
            .replace("{{settings}}", json.dumps(settings).replace("<", "\\u003c"))
            .replace("{{graph}}", picture(graph)))


def picture(graph: Graph[Any, Any] | object) -> str:
    """The graph as SVG; what makes graphs has none before its input is known."""
    if not isinstance(graph, Graph):
        return "<p class='quiet'>a graph for each input</p>"
    try:
        return graph.draw("svg")
    except KayrxError as error:
        return f"<p class='quiet'>{escaping.escape(str(error))}</p>"


__all__ = ["html"]

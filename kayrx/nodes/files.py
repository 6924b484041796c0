"""Files that grow: what is written to them from now on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import ClassVar, Never

from kayrx.graph.graph import Graph, one
from kayrx.graph.node import Node
from kayrx.nodes.values import file_path, span, whole


@dataclass(frozen=True, slots=True)
class Tail(Node):
    role = "source"
    word: ClassVar[str] = "tail"
    path: str
    from_start: bool = False
    every: float = 0.2
    limit: int = 1 << 20

    def __post_init__(self) -> None:
        span("tail", "every", self.every)
        whole("tail", "limit", self.limit, 1)

    @property
    def holds(self) -> str | None:
        return f"one line of at most {self.limit} bytes"


def tail(path: str | os.PathLike[str], *, from_start: bool = False, every: float = 0.2,
         limit: int = 1 << 20) -> Graph[Never, str]:
    """The lines that are appended to a UTF-8 file, without their line ends, as they come; it never ends by itself.

    A file that is replaced (rotated) or cut short is read from its beginning; one that is not there yet is
    waited for.  What has no line end yet is held back until it has one; it is lost if the run is stopped or
    the file is replaced before that.

    In:      a path; ``from_start`` begins with the lines that are there; default: only what is appended.
    Out:     str, one a line.  Order: as they stand in the file.
    Memory:  64 KiB, and one line of at most ``limit`` bytes.
    Time:    looks every ``every`` seconds of the run's clock; reads in a worker thread, never on the loop.
    Raises:  GraphError for wrong numbers and what is no path.  When run: RunError for a line longer than ``limit``;
             UnicodeDecodeError; OSError, except for a file that is missing.
    Source:  tail -F; Pekko FileTailSource.

    >>> tail("app.log", every=0.5)
    Graph(nodes=(Tail(path='app.log', from_start=False, every=0.5, limit=1048576),))
    """
    return one(Tail(file_path("tail", path), from_start, every, limit))  # type: ignore[no-any-return]


__all__ = ["tail"]

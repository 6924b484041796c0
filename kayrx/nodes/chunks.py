"""Chunks: the same bytes or text, cut anew; or lists of so many items."""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar, get_args, overload

from kayrx.errors import GraphError
from kayrx.graph.graph import Graph, one
from kayrx.graph.node import Node
from kayrx.nodes.values import whole
from kayrx.nodes.windows import buffer

T = TypeVar("T")
By = Literal["sentence", "grapheme"]
LIMIT = 4096


@dataclass(frozen=True, slots=True)
class Chunk(Node):
    word: ClassVar[str] = "chunk"
    expands: ClassVar[bool] = True
    by: Literal["bytes", "sentence", "grapheme"]
    count: int = 1
    limit: int = LIMIT

    def __post_init__(self) -> None:
        if self.by != "bytes" and self.by not in get_args(By):
            raise GraphError(f"chunk(by={self.by!r}): {' or '.join(map(repr, get_args(By)))}; "
                             "count= makes lists and bytes= cuts bytes without by=")
        whole("chunk", "bytes" if self.by == "bytes" else "count", self.count, 1)
        whole("chunk", "limit", self.limit, 1)

    @property
    def holds(self) -> str:
        if self.by == "bytes":
            return f"{self.count} byte{'s' if self.count > 1 else ''}"
        return f"{self.count} {self.by}{'s' if self.count > 1 else ''} of {self.limit} characters"


@overload
def chunk(count: int | None = ..., *, seconds: float | None = ...) -> Graph[T, list[T]]: ...
@overload
def chunk(*, bytes: int) -> Graph[builtins.bytes, builtins.bytes]: ...
@overload
def chunk(count: int | None = ..., *, by: By, limit: int = ...) -> Graph[str, str]: ...
def chunk(count: int | None = None, *, seconds: float | None = None, bytes: int | None = None,
          by: By | None = None, limit: int = LIMIT) -> Graph[Any, Any]:
    """Cut a stream anew: into lists of items, into pieces of so many bytes, or into sentences or graphemes.

        in   --"Hel"--"lo. How"--" are"--" you?"--|
        chunk(by="sentence")
        out  ---------"Hello. "-------------------("How are you?"|)

    count, seconds   lists of ``count`` items, or of what came within ``seconds``: the same as `buffer`
    bytes            pieces of exactly so many bytes out of bytes-like items, the last one perhaps shorter
    by="sentence"    one sentence each, or ``count`` of them.  It ends at . ! ? and their like before white
                     space, which stays with it, or at a blank line; not before a small letter, nor after a
                     title (Dr.), an initial or the number of a list.  A rule of thumb, made for Latin and CJK text.
    by="grapheme"    one user-perceived character each, or ``count`` of them: an extended grapheme cluster of
                     Unicode (UAX #29), so an accent, a flag or a family of emoji is never cut
    Order:   nothing is added or lost: joined, the pieces are the text.  They do not depend on how it was cut
             before.  A piece leaves when the character after it has come, the last at completion.
    Memory:  one piece; a sentence or cluster of more than ``limit`` characters is cut there.
    Raises:  GraphError for what does not go together; TypeError when run, for items of another type.
    Source:  Pekko grouped, groupedWeighted; Unicode UAX #29.

    >>> import kayrx as kx
    >>> (kx.source(["Hi! Dr. Wh", "o is in. Is he", "?"]) >> kx.chunk(by="sentence")).collect()
    ['Hi! ', 'Dr. Who is in. ', 'Is he?']
    >>> (kx.source(["e", "\u0301a"]) >> kx.chunk(by="grapheme") >> kx.map(len)).collect()
    [2, 1]
    >>> (kx.source([b"abc", b"de"]) >> kx.chunk(bytes=2)).collect()
    [b'ab', b'cd', b'e']
    """
    if bytes is not None:
        if (count, seconds, by) != (None, None, None):
            raise GraphError("chunk(bytes=): pieces have one measure; leave out count=, seconds= and by=")
        return one(Chunk("bytes", bytes))  # type: ignore[no-any-return]
    if by is None:
        return buffer(count, seconds)
    if seconds is not None:
        raise GraphError("chunk(seconds=): seconds go with lists; leave out by=, or seconds=")
    return one(Chunk(by, 1 if count is None else count, limit))  # type: ignore[no-any-return]


__all__ = ["chunk"]

"""Chunks: lists of items; bytes and text cut anew."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

import kayrx as kx
from kayrx.graph.graph import Graph


def test_without_a_measure_of_its_own_it_is_buffer() -> None:
    """``count=`` and ``seconds=`` are those of `buffer`."""
    assert kx.chunk(3) == kx.buffer(3) and kx.chunk(3, seconds=1) == kx.buffer(3, 1)
    assert (kx.source("abc") >> kx.chunk(2)).collect() == [["a", "b"], ["c"]]


@pytest.mark.parametrize(("graph", "items", "out"), [
    (kx.chunk(bytes=2), [b"abc", b"", b"de"], [b"ab", b"cd", b"e"]), (kx.chunk(bytes=9), [b"ab"], [b"ab"]),
    (kx.chunk(bytes=1), [bytearray(b"ab"), memoryview(b"c")], [b"a", b"b", b"c"]), (kx.chunk(bytes=2), [], []),
    (kx.chunk(by="sentence"), ["Hi", "! Wh", "o? "], ["Hi! ", "Who? "]), (kx.chunk(by="sentence"), ["", ""], []),
    (kx.chunk(2, by="sentence"), ["A! B! C!"], ["A! B! ", "C!"]),
    (kx.chunk(2, by="grapheme"), ["abc", "de"], ["ab", "cd", "e"]),
    (kx.chunk(by="grapheme", limit=2), ["e\u0301\u0301\u0301x"], ["e\u0301", "\u0301\u0301", "x"]),
    (kx.chunk(by="sentence", limit=3), ["abcd. E"], ["abc", "d. ", "E"]),
    (kx.chunk(by="sentence") >> kx.take(1), ["One. Two. Three."], ["One. "]),
])
def test_what_comes_out(graph: Graph[Any, Any], items: Any, out: list[Any], backend: str) -> None:
    """Pieces leave when they are known to be whole, the rest at completion."""
    assert (kx.source(items) >> graph).collect(backend=backend) == out


def cut(parts: list[str], **how: Any) -> list[str]:
    return (kx.source(parts) >> kx.chunk(**how)).collect()  # type: ignore[no-any-return]


@pytest.mark.parametrize("sentences", [
    ["Dr. Who met J. Smith at St. Ives, e.g. on Monday. ", "Then they left."],
    ["Pi is 3.14 and so on. ", "See fig. 3 and no. 7 there. ", "I said no. ", "Yes."],
    ['"Yes." ', "(No!) ", "He said: “Well… maybe.” ", "What?! ", "Hm... hm."],
    ["1. First comes first. ", "2. Second? ", "Third!"],
    ["A title\n\n", "A text\nof two lines. ", "Its end.\n \n", "and so on"],
    ["你好。", "我很好！", "「是。」", "他说。"],
    ["He wrote etc. and more. ", "Is it? ", "it is."],
], ids=range(7))
def test_where_sentences_end(sentences: list[str]) -> None:
    """Titles, initials, numbers, quotes and small letters do not deceive it."""
    assert cut(["".join(sentences)], by="sentence") == sentences


@pytest.mark.parametrize("clusters", [
    ["e\u0301", "a"], ["\r\n", "\n", "\r", "a"], ["🇩🇪", "🇫🇷", "🇮"], ["👩‍👩‍👧", "👍🏽", "❤️"],
    ["각", "각", "ᄀ"], ["नि", "क्षि", "த"],
    ["\u0600a", "b"], ["a\u200d", "b"], ["\u0301", "\n", "\u0301"], ["क\u094d\u200dष", "x"],
], ids=range(10))
def test_what_a_reader_sees_as_one_is_not_cut(clusters: list[str]) -> None:
    """Accents, line ends, flags, families, Hangul, conjuncts, and what is put before or between (UAX #29)."""
    assert cut(["".join(clusters)], by="grapheme") == clusters


PIECES = st.lists(st.sampled_from(["a", "Dr", ".", "!", " ", "\n", '"', "。", "」", "3", "…", "\r", "e\u0301", "\u0301",
                                   "👩", "\u200d", "🇩", "क", "\u094d", "각", "ᄀ", "\u0600", "etc. and"]), max_size=25)


@given(PIECES, st.sampled_from(["sentence", "grapheme"]), st.integers(1, 3), st.sampled_from([1, 3, 4096]))
def test_the_pieces_do_not_depend_on_how_the_text_came(pieces: list[str], by: Any, count: int, limit: int) -> None:
    """Whole, by characters, or as it was drawn: equal pieces, none empty, which joined are the text."""
    text = "".join(pieces)
    whole = cut([text], count=count, by=by, limit=limit)

    assert whole == cut(pieces, count=count, by=by, limit=limit) == cut(list(text), count=count, by=by, limit=limit)
    assert "".join(whole) == text and all(whole)
    assert all(len(piece) <= count * limit for piece in whole)


@given(st.lists(st.binary(max_size=9)), st.integers(1, 5))
def test_bytes_are_cut_at_every_size(parts: list[bytes], size: int) -> None:
    """All pieces but the last have the size, and joined they are the bytes."""
    pieces = (kx.source(parts) >> kx.chunk(bytes=size)).collect()

    assert b"".join(pieces) == b"".join(parts)
    assert all(len(p) == size for p in pieces[:-1]) and all(0 < len(p) <= size for p in pieces)


@pytest.mark.parametrize("text", ["\n", " ", "。", ".", '"', "。\n", "a5. "])
def test_no_text_takes_long(text: str) -> None:
    """Work grows with what has come, not with its square: 4,000 small items of the worst kinds."""
    assert "".join(cut([text] * 4000, by="sentence")) == text * 4000


@pytest.mark.parametrize(("graph", "item", "says"), [
    (kx.chunk(bytes=2), "a", "takes bytes, got str; encode"), (kx.chunk(by="sentence"), b"a", "takes str, got bytes"),
    (kx.chunk(by="grapheme"), 3, "takes str, got int"),
], ids=range(3))
def test_items_of_another_type_are_refused(graph: Graph[Any, Any], item: Any, says: str, backend: str) -> None:
    """A TypeError with the node in its note."""
    with pytest.raises(TypeError, match=says) as caught:
        (kx.source([item]) >> graph).run(backend=backend)
    assert "in node 'chunk' (chunk)" in caught.value.__notes__[0]


@pytest.mark.parametrize(("graph", "says"), [
    (kx.chunk(bytes=2), "chunk: 2 bytes"), (kx.chunk(by="grapheme"), "chunk: 1 grapheme of 4096 characters"),
    (kx.chunk(2, by="sentence", limit=9), "chunk: 2 sentences of 9 characters"), (kx.chunk(2), "buffer: 2 items"),
], ids=range(4))
def test_it_says_what_it_holds(graph: Graph[Any, Any], says: str) -> None:
    """The bound stands in the plan."""
    assert says in graph.explain()


@pytest.mark.parametrize(("write", "says"), [
    (lambda: kx.chunk(), "give count="), (lambda: kx.chunk(0), ">= 1"), (lambda: kx.chunk(bytes=0), ">= 1"),
    (lambda: kx.chunk(2, bytes=3), "one measure"), (lambda: kx.chunk(by="word"), "'sentence' or 'grapheme'"),
    (lambda: kx.chunk(by="sentence", seconds=1), "seconds go with lists"),
    (lambda: kx.chunk(0, by="sentence"), "count must be a whole number >= 1"),
    (lambda: kx.chunk(by="grapheme", limit=0), ">= 1"),
], ids=range(8))
def test_wrong_arguments_fail_where_they_are_written(write: Any, says: str) -> None:
    """A wrong argument, or one that does not go with another, is a GraphError of the line that writes it."""
    with pytest.raises(kx.GraphError, match=says):
        write()

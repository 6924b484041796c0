"""Server-sent events as a browser reads them: the web platform's own cases, any chunks, and bytes that mean harm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

import kayrx as kx
from kayrx.io.event_stream import Decoder, ServerSent
from kayrx.serve import Event
from kayrx.serve.sse import frame

CASES = json.loads(Path(__file__).with_name("sse_web_platform.json").read_text(encoding="utf-8"))


def decoded(stream: bytes, size: int, **options: Any) -> tuple[list[ServerSent], Decoder]:
    decoder, events = Decoder(**options), list[ServerSent]()
    for start in range(0, len(stream), size):
        events += decoder.feed(stream[start:start + size])
    return events, decoder


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1 << 20])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_web_platforms_cases(case: Any, size: int) -> None:
    """Events, ids and retry are those of a browser, however the bytes are cut."""
    events, decoder = decoded(case["stream"].encode("latin-1"), size)
    assert [{"type": e.type, "data": e.data, "id": e.id} for e in events] == case["events"]
    assert decoder.retry == case["retry"] and (decoder.last_id or "") == (case["last_id"] or "")


@given(st.lists(st.text() | st.sampled_from(["\r", "\n\n", "\0", "data: x\n\nevent: end", "\ufeff", "id: 7"])),
       st.integers(1, 40))
def test_whatever_is_served_comes_back(texts: list[str], size: int) -> None:
    """Our frames through our decoder: any text as it was, with its id and count."""
    sent = b"".join(frame(Event(n, "data", text, n), f"abcdefgh-{n}") for n, text in enumerate(texts, 1))
    events, _ = decoded(sent, size)
    assert [(e.json(), e.id, e.count) for e in events] == [(t, f"abcdefgh-{n}", n) for n, t in enumerate(texts, 1)]


@given(st.lists(st.sampled_from([
    b"data", b"id", b"event", b"retry", b":", b" ", b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xc3", b"\xef\xbb\xbf",
    "\u2028".encode(), b"7", b"9" * 30, b"x"])), st.integers(1, 9))
def test_hostile_bytes_are_read_alike_in_any_chunks(parts: list[bytes], size: int) -> None:
    """Newlines, CR, NUL, invalid UTF-8 and endless numbers in every field: no crash, and cutting changes nothing."""
    stream = b"".join(parts) + b"\n\n"
    whole, other = decoded(stream, 1 << 20), decoded(stream, size)
    assert whole[0] == other[0] and (whole[1].retry, whole[1].last_id) == (other[1].retry, other[1].last_id)
    assert all("\0" not in e.id and "\n" not in e.id + e.type and "\r" not in e.id + e.type + e.data for e in whole[0])


@pytest.mark.parametrize("stream", [b"data: " + b"x" * 2000, b"data: " + b"x\ndata: " * 2000, b"x" * 2000 + b"\n",
                                    b": " + b"x" * 2000])
def test_what_is_too_long_is_not_held(stream: bytes) -> None:
    """One line or many, with or without an end: a RunError at the bound."""
    with pytest.raises(kx.RunError, match="longer than 1000 bytes; raise limit="):
        decoded(stream * 3, 100, limit=1000)

"""A letter as one line of text with a check sum: what every durable store writes.

    {"crc":"1f0a93c2","id":"answers/ask/source/0/7","same":"<digest>","item":{"json":"???"},"node":"ask",...}

The first three fields stand in this order, so that a file of a hundred thousand letters is opened without
parsing them; the check sum covers all that comes after it.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, NamedTuple
from zlib import crc32

from kayrx.errors import RunError
from kayrx.io.codecs import Codec, json_codec, text_of
from kayrx.nodes.letters import Letter, StoredError, Unread

HEAD = re.compile(rb'\{"crc":"([0-9a-f]{8})",'
                  rb'("(?:id":"((?:[^"\\]|\\.)*)","same":"([0-9a-f]{32})"|done":\[).*\})\Z', re.S)
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
REPR = "repr"
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, RecursionError)    # what reading another line raises


class Damaged(ValueError):
    """A line is not what was written."""


class Written(NamedTuple):
    """A letter as a line; ``unread`` is true if only a text of the item could be kept."""

    id: str
    same: str
    line: str
    unread: bool


def shown(item: Any) -> str:
    """The ``repr`` of an item, whatever it does."""
    try:
        return repr(item)
    except Exception as error:
        return f"<a {type(item).__qualname__}, whose repr raised {type(error).__name__}>"


def form_of(item: Any, codec: Codec) -> tuple[str, str, str]:
    """How an item is kept: the form, its text, and why it is but a repr."""
    try:
        return codec.name, codec.encode(item), ""
    except Exception as error:
        return REPR, shown(item), shown(error)


def sealed(fields: dict[str, Any]) -> str:
    """The fields as a line that tells whether it is whole."""
    text = text_of(fields)[1:]
    return f'{{"crc":"{crc32(text.encode()):08x}",{text}'


def written(letter: Letter, codec: Codec) -> Written:
    """The line of a letter."""
    form, text, why = form_of(letter.item, codec)
    same = hashlib.blake2b(f"{form} {ADDRESS.sub('', text)}".encode(errors="backslashreplace"), digest_size=16)
    item = {form: json.loads(text) if form == json_codec.name else text}
    if why:
        item["why"] = why
    line = sealed({
        "id": letter.id, "same": same.hexdigest(), "item": item, "node": letter.node, "graph": letter.graph,
        "failed_at": letter.failed_at, "kind": letter.kind, "error": safe(letter.error), "attempts": letter.attempts,
        "time": letter.time, "context": dict(letter.context), "traceback": letter.traceback})
    return Written(letter.id, same.hexdigest(), line, form == REPR)


def safe(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return shown(error)


def done(ids: tuple[str, ...]) -> str:
    """The line that says that letters are done."""
    return sealed({"done": list(ids)})


def head(line: bytes) -> tuple[str, ...]:
    """Quickly, what a line is about: the id and the digest of a letter; the ids that are done; Damaged."""
    found = HEAD.match(line)
    if found is None or int(found[1], 16) != crc32(found[2]):
        raise Damaged
    key = found[3]
    try:
        if key is not None and b"\\" not in key:
            return key.decode(), found[4].decode()
        told = json.loads(line)["done"] if key is None else [json.loads(b'"%b"' % key), found[4].decode()]
    except UNREADABLE as error:
        raise Damaged from error
    if not all(isinstance(each, str) for each in told):
        raise Damaged
    return tuple(told)


def is_letter(line: bytes) -> bool:
    return line[18:23] == b'"id":'


def letter_of(line: str, codec: Codec) -> Letter:
    """The letter of a line; Damaged if it is not whole."""
    data = line.encode(errors="surrogatepass")
    head(data)
    try:
        fields = json.loads(line)
        return Letter(
            fields["id"], item_of(fields["item"], codec), fields["node"], StoredError(fields["kind"], fields["error"]),
            fields["traceback"], fields["attempts"], fields["time"], fields["graph"], fields["failed_at"],
            fields["context"])
    except UNREADABLE as error:
        raise Damaged from error


def item_of(kept: dict[str, Any], codec: Codec) -> Any:
    """The item, or what stands for it if this codec cannot read it."""
    (form, content), *rest = kept.items()
    text = text_of(content) if form == json_codec.name else content
    if form == REPR:
        return Unread(form, text, rest[0][1] if rest else "")
    if form != codec.name:
        return Unread(form, text, f"written with the codec {form!r}; open the store with it")
    try:
        return codec.decode(text)
    except Exception as error:
        return Unread(form, text, shown(error))


def check_same(new: Written, letter: Letter, old_same: str, old: Any) -> None:
    """Raise RunError if a letter's id is taken by another item; ``old()`` gives the letter that is there."""
    if new.same != old_same and not equal(old().item, letter.item):
        raise taken(letter)


def equal(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:  # an array has no one answer
        return shown(one) == shown(other)


def taken(letter: Letter) -> RunError:
    return RunError(
        f"the letter {letter.id!r} is in the store with another item: the source of a named graph has given "
        "different items in different runs. Name the graph anew for each batch, or give the items by a callable, "
        "so that letters are keyed by the run (whose id repeats only where you made it: in a virtual world)")

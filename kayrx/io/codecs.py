"""Codecs: how a store writes an item as text, and reads it back equal or not at all."""

from __future__ import annotations

import base64
import json
import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

MARK = "$"  # the key of a JSON object that stands for something JSON has no form for


@runtime_checkable
class Codec(Protocol):
    """How items are written: ``decode(encode(item))`` equals the item, or ``encode`` raises.

    ``name`` is written beside each item, and nothing is read back by a codec of another name.
    """

    @property
    def name(self) -> str: ...
    def encode(self, item: Any, /) -> str: ...
    def decode(self, text: str, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class JsonCodec:
    """JSON with marks, so that what comes back has the type that it had.

    Raises: TypeError for an item without a form in JSON; ValueError for text that was not written by it.
    """

    name: str = "json"

    def encode(self, item: Any) -> str:
        return text_of(plain(item))

    def decode(self, text: str) -> Any:
        try:
            return rich(json.loads(text))
        except (LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            raise ValueError(f"this text was not written by json_codec: {type(error).__name__}: {error}") from error


@dataclass(frozen=True, slots=True)
class PickleCodec:
    """Items as Python pickles them, for those that have no JSON form.

    Danger: reading a pickle runs code that its writer chose.  Whoever can write to the store can then do
            whatever your program can, so use it only for a store that nobody else can write to.
    """

    name: str = "pickle"

    def encode(self, item: Any) -> str:
        return base64.b64encode(pickle.dumps(item)).decode("ascii")

    def decode(self, text: str) -> Any:
        return pickle.loads(base64.b64decode(text, validate=True))


json_codec = JsonCodec()
pickle_codec = PickleCodec()


def text_of(value: Any) -> str:
    """JSON in one line; half a surrogate pair, which UTF-8 cannot write, is escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"))
    return text


TEXTS: dict[type, tuple[str, Callable[[Any], str], Callable[[str], Any]]] = {
    bytes: ("bytes", lambda x: base64.b64encode(x).decode("ascii"), base64.b64decode),
    float: ("float", repr, float),
    datetime: ("datetime", datetime.isoformat, datetime.fromisoformat),
    date: ("date", date.isoformat, date.fromisoformat),
    Decimal: ("decimal", str, Decimal),
    UUID: ("uuid", str, UUID),
}
LISTS: dict[type, tuple[str, Callable[[Any], Any]]] = {
    tuple: ("tuple", tuple), set: ("set", set), frozenset: ("frozenset", frozenset),
}
READ: dict[str, Callable[[Any], Any]] = {
    **{name: read for name, _, read in TEXTS.values()},
    **{name: lambda parts, make=make: make(rich(part) for part in parts)  # type: ignore[misc]
       for name, make in LISTS.values()},
    "dict": lambda pairs: {rich(key): rich(value) for key, value in pairs},
}


def plain(item: Any) -> Any:
    """``item`` as what JSON can write; TypeError for what would not come back as it was."""
    kind = type(item)
    if item is None or kind in (bool, int, str) or (kind is float and math.isfinite(item)):
        return item
    if kind is list:
        return [plain(part) for part in item]
    if kind is dict:
        if MARK not in item and all(type(key) is str for key in item):
            return {key: plain(value) for key, value in item.items()}
        return {MARK: "dict", "of": [[plain(key), plain(value)] for key, value in item.items()]}
    if kind in LISTS:
        parts = [plain(part) for part in item]
        return {MARK: LISTS[kind][0], "of": parts if kind is tuple else sorted(parts, key=text_of)}
    if kind in TEXTS:
        name, write, _ = TEXTS[kind]
        return {MARK: name, "of": write(item)}
    raise TypeError(f"a {kind.__qualname__} has no JSON form")


def rich(value: Any) -> Any:
    """What `plain` was given."""
    if isinstance(value, list):
        return [rich(part) for part in value]
    if isinstance(value, dict):
        if MARK in value:
            return READ[value[MARK]](value["of"])
        return {key: rich(part) for key, part in value.items()}
    return value


__all__ = ["Codec", "json_codec", "pickle_codec"]

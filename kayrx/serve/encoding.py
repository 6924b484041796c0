"""Data as JSON: one line of ASCII, so that no text can break a frame or be broken by one."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import enum
import json
import math
import uuid
from collections.abc import Mapping, Set
from decimal import Decimal
from json.encoder import encode_basestring_ascii
from pathlib import PurePath
from typing import Any


def plain(value: Any) -> Any:
    """What `json` cannot write itself; raises TypeError for what has no obvious form."""
    if hasattr(value, "model_dump"):    # pydantic, without importing it
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, (Set, Mapping)):
        return dict(value) if isinstance(value, Mapping) else list(value)
    if isinstance(value, (uuid.UUID, Decimal, PurePath)):
        return str(value)
    if hasattr(value, "tolist"):    # numpy's arrays and numbers
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON; map it to a dict, a list or text before it is "
                    "served")


_encoder = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"), default=plain)


def as_json(value: Any) -> str:
    """``value`` as one line of ASCII.

    Any text comes back as it was, torn surrogate pairs and NUL too.  Dataclasses, pydantic models, enums, dates,
    bytes (base64), sets, UUIDs, decimals and numpy values have their usual form.
    Raises: TypeError for another type, ValueError for NaN and infinities, which JSON does not have.

    >>> as_json({"text": "a\\nb\\r\\0"})
    '{"text":"a\\\\nb\\\\r\\\\u0000"}'
    """
    return encode_basestring_ascii(value) if type(value) is str else _encoder.encode(value)


def finite(text: str) -> float:
    """A number with a fraction or an exponent.  Raises: ValueError for one that JSON could not give back."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:32]} is no number of JSON's")
    return number


_decoder = json.JSONDecoder(parse_float=finite, parse_constant=finite)


def of_json(text: str | bytes) -> Any:
    """What `as_json` could have written.

    Raises: ValueError for what is no JSON, for NaN, infinities and numbers that are too large, and for invalid UTF-8;
    RecursionError for what is too deep.

    >>> of_json(b'{"a": 1.5}')
    {'a': 1.5}
    """
    return _decoder.decode(text if isinstance(text, str) else text.decode("utf-8-sig"))


__all__ = ["as_json", "of_json"]

"""What a client says to start a session: read within its limits, and held to its schema."""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import Any

import anyio

from kayrx.serve.encoding import of_json
from kayrx.serve.events import Refused
from kayrx.serve.limits import Limits


async def read(request: Any, limits: Limits) -> bytes:
    """The body of a request.  Raises: Refused, "too large" or "invalid", for one that is too much or too slow."""
    if request.headers.get("content-encoding", "identity") != "identity":    # a bomb would be small until opened
        raise Refused("invalid", "send the input as it is, without Content-Encoding")
    told, found = request.headers.get("content-length", "0"), bytearray()
    if told.isascii() and told.isdigit() and int(told) > limits.body:
        raise Refused("too large", f"the input is larger than {limits.body} bytes")
    with anyio.move_on_after(limits.slow) as scope:
        async with aclosing(request.stream()) as chunks:
            async for chunk in chunks:
                found += chunk
                if len(found) > limits.body:
                    raise Refused("too large", f"the input is larger than {limits.body} bytes")
    if scope.cancelled_caught:
        raise Refused("invalid", f"the input did not come within {limits.slow:g} seconds")
    return bytes(found)


def checked(body: bytes, schema: Any) -> Any:
    """The input as ``schema`` has it: a pydantic model, or a function.  Raises: Refused, "invalid"."""
    try:
        value = of_json(body or b"null")
    except (ValueError, RecursionError) as error:
        raise Refused("invalid", explained(error)) from error
    return fitting(value, schema)


def fitting(value: Any, schema: Any) -> Any:
    """A value as ``schema`` has it.  Raises: Refused, "invalid"."""
    try:
        return value if schema is None else getattr(schema, "model_validate", schema)(value)
    except (ValueError, TypeError, RecursionError) as error:
        raise Refused("invalid", explained(error)) from error


def explained(error: Exception) -> str:
    """What is wrong with an input.  Of pydantic's words without the input itself, which it repeats."""
    if hasattr(error, "errors"):
        return "; ".join(f"{'.'.join(map(str, each['loc'])) or 'input'}: {each['msg']}" for each in error.errors())
    if isinstance(error, (json.JSONDecodeError, UnicodeDecodeError, RecursionError)):
        return "the input is not JSON"
    return f"the input is refused: {error}"


__all__ = ["checked", "fitting", "read"]

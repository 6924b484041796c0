"""``module:name`` on the command line: what it names, or one line that says why it names nothing."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import Any

import typer

from kayrx.errors import KayrxError


def named(target: str) -> Any:
    """What ``module:name`` names; modules of the current directory are found.

    Raises:  typer.BadParameter for what is not written so or not there; Exit, after a line that tells the place,
             if the module raises while it is imported; what kayrx itself says of a graph in it passes.
    """
    module, _, name = target.partition(":")
    if module.endswith(".py"):
        written = module[:-3].replace(os.sep, ".").strip(".")
        raise typer.BadParameter(f"{target!r}: write the module, not its file, as in {written}:{name or 'graph'}")
    if not name or not all(part.isidentifier() for part in module.split(".")):
        raise typer.BadParameter(f"{target!r}: write module:graph, as in app:answers")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        value: Any = importlib.import_module(module)
    except KayrxError:
        raise
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{module}.".startswith(f"{error.name}."):
            raise typer.BadParameter(f"there is no module {error.name!r} here") from None
        typer.echo(f"error: {module} cannot be imported: {said(error)}", err=True)
        raise typer.Exit(1) from None
    for part in name.split("."):
        if not hasattr(value, part):
            raise typer.BadParameter(f"{module} has no {name!r}")
        value = getattr(value, part)
    return value


def said(error: Exception) -> str:
    """The error and the line of the user's file that raised it, without the frames of the import between."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error}"    # it names its file and line
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames[1:] else ""
    return f"{type(error).__name__}: {error}{place}"


__all__ = ["named"]

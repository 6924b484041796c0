"""The door between a graph and what can be done with it.

A graph knows how to be written.  Lifting plain values into nodes (`kayrx.nodes`) and running
(`kayrx.runtime`) live on higher floors; the top floor (`kayrx/__init__.py`) names them here once,
and they are imported when first asked for.  So imports point down only, and writing a graph loads
no engine.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

_floors: dict[str, str] = {}


def install(**floors: str) -> None:
    """Name the module that answers for each floor, e.g. ``install(engine="kayrx.runtime.faces")``."""
    _floors.update(floors)


def floor(name: str) -> ModuleType:
    """The module installed under ``name``, imported now if it was not yet."""
    return import_module(_floors[name])

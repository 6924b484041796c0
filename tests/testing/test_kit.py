"""The kit as a whole: its names, and what it needs."""

from __future__ import annotations

import importlib
import inspect
import sys

import pytest

import kayrx as kx
import kayrx.testing as kit


def test_public_names_are_exact() -> None:
    """``__all__``, ``dir`` and the homes agree; every name loads and has a docstring."""
    assert kit.__all__ == sorted(kit.__all__) == dir(kit)
    assert set(kit.__all__) - set(kit._HOME) == {"laws"}
    for name in kit.__all__:
        assert inspect.getdoc(getattr(kit, name)), name
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        kit.nope  # noqa: B018


@pytest.mark.parametrize(("module", "needs"), [
    ("kayrx.testing.strategies", "hypothesis"), ("kayrx.testing.plugin", "pytest")])
def test_a_missing_package_is_told_with_the_remedy(module: str, needs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest and hypothesis are asked for where they are needed, and only there."""
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, needs, None)

    with pytest.raises(kx.MissingDependency, match=r"pip install kayrx\[testing\]"):
        importlib.import_module(module)

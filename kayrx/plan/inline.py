"""Inlining a lambda: only if its source compiles to the very bytecode that it runs.

Refused: closures, defaults, globals and free names, nested scopes, statements, anything whose source
cannot be found, and everything while a tracer or debugger watches.  What is refused is called.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Sequence
from types import CodeType, FunctionType
from typing import Any

_OPAQUE = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.NamedExpr,
           ast.Await, ast.Yield, ast.YieldFrom)


def watched() -> bool:
    """True while a tracer, profiler or debugger is on."""
    monitoring = getattr(sys, "monitoring", None)
    tools = monitoring is not None and any(monitoring.get_tool(i) for i in range(6))
    return sys.gettrace() is not None or sys.getprofile() is not None or tools


def source_of(fn: Callable[..., Any], args: Sequence[str]) -> str | None:
    """The body of ``fn`` over ``args`` as an expression's text, or None if that is not provably the same.

    >>> source_of(len, ["x"]) is None
    True
    """
    if type(fn) is not FunctionType or fn.__closure__ or fn.__defaults__ or fn.__kwdefaults__ or watched():
        return None
    try:
        lines, _ = inspect.getsourcelines(fn)
    except (OSError, TypeError):
        return None
    found = [node for node in _lambdas("".join(lines)) if _same(node, fn.__code__)]
    texts = {ast.unparse(_over(node, args)) for node in found if _plain(node)}
    return f"({texts.pop()})" if len(texts) == 1 and len(found) >= 1 else None


def _lambdas(text: str) -> list[ast.Lambda]:
    """The lambdas in a piece of source, which may begin or end in the middle of a statement."""
    text = inspect.cleandoc("\n" + text) if text[:1].isspace() else text
    for start in [i for i in range(len(text)) if text.startswith("lambda", i)]:
        for candidate in (text, f"({text.strip()})", text[start:]):
            for end in range(len(candidate), 0, -1) if candidate is not text else [len(candidate)]:
                try:
                    tree = ast.parse(candidate[:end].strip().rstrip(",)") if end < len(candidate) else candidate)
                except SyntaxError:
                    continue
                found = [n for n in ast.walk(tree) if isinstance(n, ast.Lambda)]
                if found:
                    return found
    return []


def _same(node: ast.Lambda, code: CodeType) -> bool:
    tree = ast.fix_missing_locations(ast.Expression(node))
    made = next(c for c in compile(tree, "", "eval").co_consts if isinstance(c, CodeType))
    return (made.co_code, made.co_consts, made.co_names, made.co_varnames) == (
        code.co_code, code.co_consts, code.co_names, code.co_varnames)


def _plain(node: ast.Lambda) -> bool:
    own = {a.arg for a in node.args.args}
    simple = not (node.args.vararg or node.args.kwarg or node.args.kwonlyargs or node.args.posonlyargs)
    return simple and all(not isinstance(n, _OPAQUE) and (not isinstance(n, ast.Name) or n.id in own)
                          for n in ast.walk(node.body))


def _over(node: ast.Lambda, args: Sequence[str]) -> ast.expr:
    names = dict(zip([a.arg for a in node.args.args], args, strict=True))

    class Rename(ast.NodeTransformer):
        def visit_Name(self, name: ast.Name) -> ast.Name:
            return ast.Name(names[name.id], name.ctx)

    return Rename().visit(node.body)  # type: ignore[no-any-return]

"""`it`: an expression over the item, written as ordinary Python and kept as data.

``kx.map(kx.it["price"] * 2)`` holds a frozen `Expr`: it prints, compares, pickles, travels to
another process, and compiles inline, without a call an item.

>>> it["price"] * 2 > 10
it['price'] * 2 > 10
>>> (it + 1)(41)
42
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, TypeVar

from kayrx.errors import GraphError

T = TypeVar("T")


def inverted(value: Any) -> Any:
    """``~value``, which is `not` for True and False: Python's ``~True`` is -2, and that counts as true."""
    return not value if isinstance(value, bool) else ~value


_BINARY: dict[str, tuple[str, Callable[[Any, Any], Any], int]] = {
    "add": ("+", operator.add, 12), "sub": ("-", operator.sub, 12), "mul": ("*", operator.mul, 13),
    "truediv": ("/", operator.truediv, 13), "floordiv": ("//", operator.floordiv, 13),
    "mod": ("%", operator.mod, 13), "pow": ("**", operator.pow, 15), "matmul": ("@", operator.matmul, 13),
    "and": ("&", operator.and_, 10), "or": ("|", operator.or_, 8), "xor": ("^", operator.xor, 9),
    "lshift": ("<<", operator.lshift, 11),
    "lt": ("<", operator.lt, 6), "le": ("<=", operator.le, 6), "gt": (">", operator.gt, 6),
    "ge": (">=", operator.ge, 6), "eq": ("==", operator.eq, 6), "ne": ("!=", operator.ne, 6),
}
_UNARY: dict[str, tuple[str, Callable[[Any], Any], int]] = {
    "neg": ("-", operator.neg, 14), "pos": ("+", operator.pos, 14), "invert": ("~", inverted, 14),
}


@dataclass(frozen=True, slots=True)
class Expr:
    """A frozen expression tree: ``op`` is item, value, attribute, key, call, or an operator's name.

    Calling it evaluates it on one item; `source` writes it as Python text for the compiler.
    """

    op: str
    args: tuple[Any, ...] = ()

    def __call__(self, item: Any) -> Any:
        match self.op:
            case "item":
                return item
            case "value":
                return self.args[0]
            case "attribute":
                return getattr(self.args[0](item), self.args[1])
            case "key":
                return self.args[0](item)[self.args[1](item)]
            case "call":
                target, arguments, keywords = self.args
                return target(item)(*(a(item) for a in arguments), **{k: v(item) for k, v in keywords})
        if self.op in _UNARY:
            return _UNARY[self.op][1](self.args[0](item))
        return _BINARY[self.op][1](self.args[0](item), self.args[1](item))

    def __repr__(self) -> str:
        return self.source("it", repr)

    def source(self, item: str, value: Callable[[Any], str]) -> str:
        """The expression as Python text; ``value`` writes a constant (a literal or a parameter's name)."""
        return self._text(item, value)[0]

    def _text(self, item: str, value: Callable[[Any], str]) -> tuple[str, int]:
        def inner(part: Expr, least: int) -> str:
            text, rank = part._text(item, value)
            return text if rank >= least else f"({text})"

        match self.op:
            case "item":
                return item, 20
            case "value":
                text = value(self.args[0])
                return (text, 20) if not text.startswith("-") else (text, 14)
            case "attribute":
                return f"{inner(self.args[0], 18)}.{self.args[1]}", 18
            case "key":
                return f"{inner(self.args[0], 18)}[{inner(self.args[1], 0)}]", 18
            case "call":
                target, arguments, keywords = self.args
                parts = [inner(a, 0) for a in arguments] + [f"{k}={inner(v, 0)}" for k, v in keywords]
                return f"{inner(target, 18)}({', '.join(parts)})", 18
        if self.op == "invert" and value is not repr:
            return f"{value(inverted)}({inner(self.args[0], 0)})", 18
        if self.op in _UNARY:
            sign, _, rank = _UNARY[self.op]
            return f"{sign}{inner(self.args[0], rank)}", rank
        sign, _, rank = _BINARY[self.op]
        left, right = self.args
        # Comparisons do not chain here, and ** binds to the right: both sides one rank up.
        tight = rank + 1
        first = tight if rank == 6 or sign == "**" else rank
        return f"{inner(left, first)} {sign} {inner(right, tight)}", rank

    @property
    def __name__(self) -> str:
        return repr(self)


class Builder(Generic[T]):
    """What `it` is: every operation gives a new builder; a node stores its `expr`.

    >>> it.name.upper()
    it.name.upper()
    """

    __slots__ = ("_expr",)

    def __init__(self, expr: Expr) -> None:
        self._expr = expr

    def __repr__(self) -> str:
        return repr(self._expr)

    def __getattr__(self, name: str) -> Builder[Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        return Builder(Expr("attribute", (self._expr, name)))

    def __getitem__(self, key: Any) -> Builder[Any]:
        return Builder(Expr("key", (self._expr, expression(key))))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._expr.op == "item":
            return args[0]
        keywords = tuple((k, expression(v)) for k, v in kwargs.items())
        return Builder(Expr("call", (self._expr, tuple(map(expression, args)), keywords))) \
            if self._expr.op in ("attribute", "key") else self._expr(*args)

    def _refuse(self, *_: object) -> NoReturn:
        raise GraphError(f"{self!r} has no truth value while the graph is written; use & | ~ for and, or, "
                         "not, and (it > 1) & (it < 5) for 1 < it < 5; for `in` write a function")

    __bool__ = __contains__ = __iter__ = _refuse

    def __rshift__(self, other: object) -> NoReturn:
        raise GraphError(f"{self!r} >> ...: an expression is not a graph; write kx.map({self!r}) >> ...")

    __rrshift__ = __rshift__
    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return Builder, (self._expr,)


def expression(value: Any) -> Expr:
    """``value`` as an `Expr`: a builder's own expression, anything else a constant."""
    if isinstance(value, Builder):
        return value._expr
    return value if isinstance(value, Expr) else Expr("value", (value,))


def frozen(fn: Any) -> Any:
    """What a node stores for a function argument: a builder becomes its expression."""
    return fn._expr if isinstance(fn, Builder) else fn


def _binary(op: str) -> None:
    def forward(self: Builder[Any], other: Any) -> Builder[Any]:
        return Builder(Expr(op, (self._expr, expression(other))))

    def backward(self: Builder[Any], other: Any) -> Builder[Any]:
        return Builder(Expr(op, (expression(other), self._expr)))

    setattr(Builder, f"__{op}__", forward)
    if op not in ("lt", "le", "gt", "ge", "eq", "ne"):
        setattr(Builder, f"__r{op}__", backward)


def _unary(op: str) -> None:
    setattr(Builder, f"__{op}__", lambda self: Builder(Expr(op, (self._expr,))))


for _op in _BINARY:
    _binary(_op)
for _op in _UNARY:
    _unary(_op)

it: Any = Builder(Expr("item"))
"""The item, in an expression: ``it["price"] * 2``, ``it.name.upper()``, ``(it > 1) & (it < 5)``.

It stands wherever a node takes a function of one item.  In: the operators of Python but `and`, `or`,
`not`, `in` and chained comparison, which fail when written; ``~`` is `not` for True and False.
Source: Spark columns, polars.
"""

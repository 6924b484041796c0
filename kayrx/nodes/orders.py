"""What guards mean together, in every order: the one written first stands inside.

Guards of a kind mean alike, so a row for each pair of kinds tells of every order.  Each row is run by
tests/nodes/test_orders.py, and stands in notebooks/3-failure.ipynb.

>>> from kayrx.nodes.orders import ORDERS, meaning
>>> meaning("retry", "fallback")
'an attempt that fails is made again; something else is given after the last'
>>> meaning("fallback", "retry")
'something else is given at the first failure: there is never a second attempt'
"""

from __future__ import annotations

from typing import NamedTuple

KINDS: dict[str, str] = {
    "timeout": "time", "deadline": "time",
    "retry": "again", "hedge": "again",
    "fallback": "instead", "catch": "instead", "on_error_return": "instead",
    "skip_errors": "drop", "dead_letter": "drop",
    "circuit_breaker": "limit", "bulkhead": "limit",
}
"""The kind of each guard."""


class Order(NamedTuple):
    """One row: the kinds, the inner one first, guards of these kinds as they are written, and what they mean."""

    inner: str
    outer: str
    written: str
    meaning: str


ORDERS: tuple[Order, ...] = (
    Order("time", "time", "timeout(9) >> deadline(2)", "the shorter time ends the call"),
    Order("time", "again", "timeout(2) >> retry(3)", "each attempt has its own time"),
    Order("time", "instead", "timeout(2) >> fallback(f)",
          "something else is given when the time is over, and has its own"),
    Order("time", "drop", "timeout(2) >> dead_letter(store)",
          "an item that takes too long is left out or kept as a letter"),
    Order("time", "limit", "timeout(2) >> circuit_breaker(2)",
          "a call that takes too long is a failure; a wait to be let in has no limit"),
    Order("again", "time", "retry(9) >> timeout(5)", "all attempts and the waits between them have one time"),
    Order("again", "again", "retry(2) >> retry(3)", "the attempts multiply"),
    Order("again", "instead", "retry(3) >> fallback(0)",
          "an attempt that fails is made again; something else is given after the last"),
    Order("again", "drop", "retry(3) >> dead_letter(store)",
          "an attempt that fails is made again; the item is left out or kept after the last"),
    Order("again", "limit", "retry(3) >> circuit_breaker(2)",
          "all attempts of an item are let in together, and count as one"),
    Order("instead", "time", "fallback(f) >> timeout(5)", "the call and what is given instead have one time"),
    Order("instead", "again", "fallback(0) >> retry(3)",
          "something else is given at the first failure: there is never a second attempt"),
    Order("instead", "instead", "fallback(broken) >> on_error_return(0)",
          "the second is given where the first fails too"),
    Order("instead", "drop", "fallback(broken) >> dead_letter(store)",
          "the item is left out or kept only where what is given instead fails too"),
    Order("instead", "limit", "fallback(0) >> circuit_breaker(1)", "no failure gets so far: the circuit never opens"),
    Order("drop", "time", "skip_errors() >> timeout(5)",
          "a failure is left out or kept; a call that takes too long is not"),
    Order("drop", "again", "dead_letter(store) >> retry(3)",
          "left out or kept at the first failure: never a second attempt"),
    Order("drop", "instead", "dead_letter(store) >> fallback(0)",
          "left out or kept at the first failure: nothing is given"),
    Order("drop", "drop", "skip_errors(ValueError) >> dead_letter(store)",
          "each takes the failures that it asks for (on=)"),
    Order("drop", "limit", "skip_errors() >> circuit_breaker(1)", "no failure gets so far: the circuit never opens"),
    Order("limit", "time", "bulkhead(1, queued=9) >> timeout(3)", "a wait to be let in is part of the time"),
    Order("limit", "again", "circuit_breaker(2) >> retry(3)", "each attempt is let in, refused and counted by itself"),
    Order("limit", "instead", "circuit_breaker(1) >> fallback(0)",
          "something else is given also where a call is refused"),
    Order("limit", "drop", "circuit_breaker(1) >> dead_letter(store)",
          "an item whose call is refused is left out or kept"),
    Order("limit", "limit", "bulkhead(1) >> circuit_breaker(1)",
          "a call that the inner one refuses is a failure to the outer"),
)


def meaning(inner: str, outer: str) -> str:
    """What two guards mean, the one written first given first."""
    kinds = KINDS[inner], KINDS[outer]
    return next(order.meaning for order in ORDERS if (order.inner, order.outer) == kinds)


__all__ = ["KINDS", "ORDERS", "Order", "meaning"]

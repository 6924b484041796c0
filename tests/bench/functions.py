"""The functions that all contenders share, and the hand loops that call them.

Each family of workloads has functions of its own, so that no other workload can unsettle the
interpreter's specialised code for them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import cache
from typing import Any


def add_one(x: int) -> int:
    return x + 1


def is_even(x: int) -> bool:
    return x % 2 == 0


def triple(x: int) -> int:
    return x * 3


def filter_loop(count: int) -> int:
    """W1 by hand, calling the functions."""
    total = 0
    for x in range(count):
        y = add_one(x)
        if not is_even(y):
            continue
        total = total + triple(y)
    return total


def filter_loop_inlined(count: int) -> int:
    """W1 by hand, with the bodies of the functions."""
    total = 0
    for x in range(count):
        y = x + 1
        if y % 2 != 0:
            continue
        total = total + y * 3
    return total


def lift(x: int) -> int:
    return x + 1


def window_loop(count: int) -> int:
    """W2 by hand: a running total, in lists of a hundred, counted."""
    total, held, lists, begun = 0, [], 0, False
    for x in range(count):
        y = lift(x)
        total = total + y if begun else y
        begun = True
        held.append(total)
        if len(held) < 100:
            continue
        if len(held) > 0:
            lists += 1
        held = []
    return lists + (1 if held else 0)


def window_loop_inlined(count: int) -> int:
    """W2 by hand, with the body of the function."""
    total, held, lists = 0, [], 0
    for x in range(count):
        total = total + (x + 1)
        held.append(total)
        if len(held) < 100:
            continue
        lists += 1
        held = []
    return lists + (1 if held else 0)


def stage_0(x: int) -> int:
    return x + 1


def stage_1(x: int) -> int:
    return x ^ 1


def stage_2(x: int) -> int:
    return x + 2


def stage_3(x: int) -> int:
    return x ^ 3


def stage_4(x: int) -> int:
    return x + 4


def stage_5(x: int) -> int:
    return x ^ 5


def stage_6(x: int) -> int:
    return x + 6


def stage_7(x: int) -> int:
    return x ^ 7


def stage_8(x: int) -> int:
    return x + 8


def stage_9(x: int) -> int:
    return x ^ 9


STAGES: tuple[Callable[[int], int], ...] = (stage_0, stage_1, stage_2, stage_3, stage_4,
                                            stage_5, stage_6, stage_7, stage_8, stage_9)


def stages_loop(count: int) -> int:
    """W3 by hand: ten calls an item."""
    total = 0
    for x in range(count):
        a = stage_0(x)
        b = stage_1(a)
        c = stage_2(b)
        d = stage_3(c)
        e = stage_4(d)
        f = stage_5(e)
        g = stage_6(f)
        h = stage_7(g)
        i = stage_8(h)
        j = stage_9(i)
        total = total + j
    return total


def stages_loop_inlined(count: int) -> int:
    """W3 by hand, with the bodies of the functions."""
    total = 0
    for x in range(count):
        a = x + 1
        b = a ^ 1
        c = b + 2
        d = c ^ 3
        e = d + 4
        f = e ^ 5
        g = f + 6
        h = g ^ 7
        i = h + 8
        j = i ^ 9
        total = total + j
    return total


@cache
def long_loop(stages: int) -> Callable[[int], int]:
    """The hand loop of W3 for any number of stages, written out by a program."""
    lines = ["def loop(count):", "    total = 0", "    for x0 in range(count):"]
    lines += [f"        x{i + 1} = stage_{i % 10}(x{i})" for i in range(stages)]
    lines += [f"        total = total + x{stages}", "    return total"]
    scope: dict[str, Any] = {f"stage_{i}": stage for i, stage in enumerate(STAGES)}
    exec("\n".join(lines), scope)
    return scope["loop"]  # type: ignore[no-any-return]


def request_lift(x: int) -> int:
    return x + 1


def request_wanted(x: int) -> bool:
    return x > 0


def request_double(x: int) -> int:
    return x * 2


def request_total(total: int, x: int) -> int:
    return total + x


def request_lower(x: int) -> int:
    return x - 1


def request(x: int) -> list[int]:
    """W7 by hand: one item through map, filter, map, scan and map; what comes out, as a graph gives it."""
    y = request_lift(x)
    if not request_wanted(y):
        return []
    return [request_lower(request_total(0, request_double(y)))]


def requests(count: int) -> int:
    """The handler called as often."""
    answers = 0
    for _ in range(count):
        answers += request(20)[0]
    return answers


def bare_request(x: int) -> int | None:
    """The same for who knows that there is at most one: without the list."""
    y = request_lift(x)
    if not request_wanted(y):
        return None
    return request_lower(request_total(0, request_double(y)))


def bare_requests(count: int) -> int:
    answers = 0
    for _ in range(count):
        answers += bare_request(20) or 0
    return answers


KEPT = 1000


def kept() -> deque[int]:
    """Where a reader puts what it is given.  All of it would not fit the caches, and be measured instead."""
    return deque(maxlen=KEPT)


def pushed_lift(x: int) -> int:
    return x + 1


def pushed_even(x: int) -> bool:
    return x % 2 == 0


def pushed_triple(x: int) -> int:
    return x * 3


def pushed_loop(count: int) -> int:
    """W8 by hand: a function that takes one item, called for each."""
    given = kept()

    def on_next(x: int) -> None:
        y = pushed_lift(x)
        if not pushed_even(y):
            return
        given.append(pushed_triple(y))

    for x in range(count):
        on_next(x)
    return sum(given)

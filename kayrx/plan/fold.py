"""Folding: a value that the next line uses, and nothing else, is computed there.

It saves the store and the load of a name; over ten short calls that is what a hand-written loop
saves by nesting them.  The folded call keeps a line of its own, so a failure is still told by line.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache

VALUE = re.compile(r"( *)(x\d+) = (?!\w+ = )(.*)", re.DOTALL)
FLAT = re.compile(r"[\w\s.,()\[\]=+*/-]*")  # no string, no comparison, nothing that ends in a colon
NAME = re.compile(r"\bx\d+\b")
DEEPEST = 16  # the parser takes 200 parentheses
TURNS = re.compile(r"\b(if|else|and|or|not|in|for|lambda)\b")  # what may skip a value, or compute it twice


@lru_cache(maxsize=1024)
def folded(lines: tuple[str, ...], origins: tuple[int, ...]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The same function with fewer names; ``origins`` are given per physical line.

    >>> folded(("x0 = f(x)", "x1 = g(x0)", "return [x1]"), (0, 1, 2))
    (('return [(', 'g((', 'f(x))))]'), (2, 1, 0))
    """
    uses = Counter(NAME.findall("\n".join(lines)))
    out: list[list[str]] = [line.split("\n") for line in lines]
    owners = [[origin] for origin in origins]
    number = 0
    while number + 1 < len(out):
        found = VALUE.fullmatch("\n".join(out[number]))
        if found is not None and uses[found.group(2)] == 2 and foldable(found, out[number + 1][0]):
            _, name, value = found.groups()
            before, after = re.split(rf"\b{name}\b", out[number + 1][0])
            value_lines = value.split("\n")
            out[number + 1] = [f"{before}(", *value_lines[:-1], f"{value_lines[-1]}){after}"]
            owners[number + 1] = owners[number + 1] + owners[number]
            del out[number], owners[number]
        else:
            number += 1
    return tuple(line for block in out for line in block), tuple(o for block in owners for o in block)


def foldable(found: re.Match[str], line: str) -> bool:
    """True if ``line`` follows on the same level, and uses the value once, before it calls anything."""
    indent, name, _ = found.groups()
    used = re.compile(rf"\b{name}\b")
    before = used.split(line)[0]
    same = line.startswith(indent) and not line[len(indent):].startswith(" ")
    plain = FLAT.fullmatch(line) is not None and TURNS.search(line) is None and ")" not in before
    shallow = found.group(0).count("\n") < DEEPEST
    return same and plain and shallow and len(used.findall(line)) == 1

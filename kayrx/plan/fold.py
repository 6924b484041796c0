"""Folding: a value that the next line uses, and nothing else, is computed there.

It saves the store and the load of a name; over ten short calls that is what a hand-written loop
saves by nesting them.  The folded call keeps a line of its own, so a failure is still told by line.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from itertools import pairwise

VALUE = re.compile(r"( *)(x\d+) = (?!\w+ = )(.*)", re.DOTALL)
FLAT = re.compile(r"[\w\s.,()\[\]=+*/-]*")  # no string, no comparison, nothing that ends in a colon
NAME = re.compile(r"\bx\d+\b")
HEAD = re.compile(r" *(async )?def ")
LITERAL = re.compile(r"-?\d+(\.\d+)?|None|True|False")
DEEPEST = 16  # the parser takes 200 parentheses
FIRST = re.compile(r"( *)(\w+ = \(?)(x\d+)(, \w+ := False\)\[0\] if \w+ else | if \w+ is EMPTY else )"
                   r"(\(?[^()]*)\b\3\b([^()]*\)?)")  # a fold that has no seed
NEAR = ("len", "EMPTY")
TURNS = re.compile(r"\b(if|else|and|or|not|in|for|lambda)\b")  # what may skip a value, or compute it twice


@lru_cache(maxsize=1024)
def folded(lines: tuple[str, ...], origins: tuple[int, ...], moving: tuple[str, ...] = (),
           ) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The same function with fewer names; ``origins`` are given per physical line.

    ``moving`` are names that computing a value may set, as a function that is pushed may push: nothing that reads one
    of them first is folded.

    >>> folded(("x0 = f(x)", "x1 = g(x0)", "return [x1]"), (0, 1, 2))
    (('return [(', 'g((', 'f(x))))]'), (2, 1, 0))
    """
    uses = [counted for block in functions(lines) for counted in [Counter(NAME.findall("\n".join(block)))] * len(block)]
    out: list[list[str]] = [line.split("\n") for line in lines]
    owners = [[origin] for origin in origins]
    number = 0
    while number + 1 < len(out):
        found, used = VALUE.fullmatch("\n".join(out[number])), uses[number]
        first = FIRST.fullmatch(out[number + 1][0]) if found is not None and len(out[number]) == 1 else None
        if found is not None and first is not None and not moving and first[1] == found[1] and first[3] == found[2] \
                and used[found[2]] == 3 and not NAME.search(first[5] + first[6]):
            out[number + 1] = [f"{first[1]}{first[2]}(", found[3], f"){first[4]}{first[5]}(", found[3], f"){first[6]}"]
            mine, its = owners[number + 1], owners[number]
            owners[number + 1] = [*mine, *its, *mine, *its, *mine]
            del out[number], owners[number], uses[number]
        elif found is not None and used[found.group(2)] == 2 and foldable(found, out[number + 1][0], moving):
            _, name, value = found.groups()
            before, after = re.split(rf"\b{name}\b", out[number + 1][0])
            value_lines = value.split("\n")
            out[number + 1] = [f"{before}(", *value_lines[:-1], f"{value_lines[-1]}){after}"]
            owners[number + 1] = owners[number + 1] + owners[number]
            del out[number], owners[number], uses[number]
        else:
            number += 1
    return tuple(line for block in out for line in block), tuple(o for block in owners for o in block)


def functions(lines: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The lines of each function, where they are nothing but functions side by side; else all lines, as one.

    >>> functions(("def f(x):", "    return x0", "def g(x):", "    return x0"))
    [('def f(x):', '    return x0'), ('def g(x):', '    return x0')]
    """
    level = len(lines[0]) - len(lines[0].lstrip()) if lines else 0
    heads = [number for number, line in enumerate(lines) if not line[level:].startswith(" ")]
    if not all(HEAD.match(lines[number]) for number in heads):
        return [lines]
    return [lines[start:end] for start, end in pairwise([*heads, len(lines)])]


def near(lines: list[str]) -> str:
    """What a loop looks up again and again, as parameters with that default: a name of the function is found sooner.

    >>> near(["if len(x) < 3: continue"])
    ', len=len'
    """
    return "".join(f", {name}={name}" for name in NEAR if any(re.search(rf"\b{name}\b", line) for line in lines))


def once(lines: list[str], states: dict[str, str]) -> list[str]:
    """The lines of a function that sees one item: a state that is read, set once and read again is a value, which
    begins as its literal.  Such states are taken out of ``states``.

    >>> states = {"state_1": "0"}
    >>> once(["state_1 = f(state_1, x)", "return [state_1]"], states), states
    (['x1001 = f(0, x)', 'return [x1001]'], {})
    """
    level = min((len(line) - len(line.lstrip()) for line in lines), default=0)
    for name, initial in list(states.items()):
        used = re.compile(rf"\b{name}\b")
        at = [number for number, line in enumerate(lines) if used.search(line)]
        set_once = re.compile(rf" {{{level}}}{name} = ")  # on every way to what reads it
        if not at or LITERAL.fullmatch(initial) is None or set_once.match(lines[at[0]]) is None \
                or any(re.search(rf"\b{name} \W?=[^=]", lines[number]) for number in at[1:]):
            continue
        value = f"x{1000 + len(states)}"
        while any(re.search(rf"\b{value}\b", line) for line in lines):
            value = f"x{int(value[1:]) + 1}"
        before, equals, after = lines[at[0]].partition(" = ")
        lines = [*lines]
        lines[at[0]] = used.sub(value, before) + equals + used.sub(initial, after)
        for number in at[1:]:
            lines[number] = used.sub(value, lines[number])
        del states[name]
    return lines


def foldable(found: re.Match[str], line: str, moving: tuple[str, ...]) -> bool:
    """True if ``line`` follows on the same level, and uses the value once, before it calls anything."""
    indent, name, _ = found.groups()
    used = re.compile(rf"\b{name}\b")
    before = used.split(line)[0]
    same = line.startswith(indent) and not line[len(indent):].startswith(" ")
    plain = FLAT.fullmatch(line) is not None and TURNS.search(line) is None and ")" not in before
    shallow = found.group(0).count("\n") < DEEPEST
    still = not any(re.search(rf"\b{name}\b", before.partition(" = ")[2] or before) for name in moving)
    return same and plain and shallow and still and len(used.findall(line)) == 1

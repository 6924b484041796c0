"""Boxes and arrows as text, mermaid and SVG, and rows as text tables; equal input gives equal strings."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from html import escape
from itertools import accumulate, chain, groupby, pairwise
from statistics import fmean
from typing import Literal
from unicodedata import combining, east_asian_width

# Fill, stroke, ink and mermaid's brackets. A box has its own background, and the grey suits black and white.
_STYLES: dict[str, tuple[str, str, str, str, str]] = {
    "source": ("#d8f3e2", "#2f9e63", "#0f3d26", "([", "])"),
    "node": ("#dde9fd", "#4a7fd6", "#14305e", "(", ")"),
    "sink": ("#ebe1fb", "#8a5fd0", "#34195f", "([", "])"),
    "gate": ("#fdedcc", "#cf8f25", "#553603", "{{", "}}"),
    "fan": ("#d5f1f4", "#2b98a6", "#0b3d45", "[[", "]]"),
}
_GREY, _FONT = "#7a828c", "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
_FRAME, _TAG = ("rgba(122,130,140,0.1)", _GREY, _GREY), ("#f3f4f6", _GREY, "#30363d")
# XML forbids these characters and a terminal obeys some of them.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
# Mermaid reads punctuation as syntax or as markdown, but not dots, dashes and underscores inside words.
_entities = partial(re.sub, r"(?!(?<=\w)[._-](?=\w))[!-+\-./;<>?@\[-`{-~]", lambda hit: f"#{ord(hit[0])};")


@dataclass(frozen=True, slots=True)
class Box:
    """A box: a unique key, a label, a smaller detail, a kind, and the name of the frame around it, if any."""

    key: str
    label: str
    detail: str = ""
    kind: Literal["source", "node", "sink", "gate", "fan"] = "node"
    group: str = ""


@dataclass(frozen=True, slots=True)
class Arrow:
    """An arrow from the box with the key start to the box with the key end."""

    start: str
    end: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """What to draw. Two boxes with one key, or an arrow at an unknown box, raise ValueError when drawn."""

    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    title: str = ""


def table(head: Sequence[str], rows: Sequence[Sequence[object]], *, align: str = "") -> str:
    """A monospaced table; align has l or r per column, l if missing. What does not fit raises ValueError.

    >>> print(table(["name", "count"], [["map", 12]], align="lr"))
    name  count
    ────  ─────
    map      12
    """
    if wrong := [cells for cells in (align.ljust(len(head)), *rows) if len(cells) != len(head)]:
        raise ValueError(f"{wrong[0]!r} does not fit the {len(head)} columns of the head")
    lines = [[_flat(str(cell)) for cell in row] for row in (head, *rows)]
    widths = [max(map(_cells, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["─" * width for width in widths])
    for line in lines:
        for number, (cell, width, side) in enumerate(zip(line, widths, align.ljust(len(head)), strict=True)):
            line[number] = (cell.rjust if side == "r" else cell.ljust)(width + len(cell) - _cells(cell))
    return "\n".join("  ".join(line).rstrip() for line in lines)


def text(picture: Picture) -> str:
    """The picture for a terminal: a chain is one line, lines part at forks and meet at joins, frames are [ ].

    >>> boxes = Box("s", "source"), Box("a", "double"), Box("b", "triple"), Box("z", "zip")
    >>> print(text(Picture(boxes, (Arrow("s", "a"), Arrow("s", "b"), Arrow("a", "z"), Arrow("b", "z")))))
    source ─┬─> double ─┐
            └─> triple ─┴─> zip
    """
    leaving, _, closing = _sort(picture)
    boxes = {box.key: box for box in picture.boxes}
    entries = Counter(arrow.end for arrow in picture.arrows if arrow not in closing)
    lines = [_flat(picture.title)] if picture.title else []
    rails: defaultdict[str, dict[int, int]] = defaultdict(dict)
    # A task draws one arrow and the box at its end. Only the stems "", "├" and "└" start a line.
    todo = [("", "", Arrow("", key)) for key in reversed(boxes) if not entries[key]]
    while todo:
        indent, stem, arrow = todo.pop()
        box, closes, label = boxes[arrow.end], arrow in closing, _flat(arrow.label)
        group, name = _flat(box.group), _flat(f"{box.label} {box.detail}").strip()
        joins = entries[box.key] > 1 and not closes
        dash = "-" if stem == " " and not joins else "─"
        stays = dash == "-" and not closes and boxes[arrow.start].group == box.group != ""
        lines += [indent] * (stem in ("", "├", "└"))
        if stem:
            lines[-1] = lines[-1][: len(lines[-1]) - stays] + stem + dash + (label and label + dash)
            lines[-1] += "" if joins else f"> (back to {name})" if closes else "> "
        if joins:
            rails[box.key][len(lines) - 1] = len(lines[-1])
        if closes or (joins and len(rails[box.key]) < entries[box.key]):
            continue
        if joins:
            _draw_rail(lines, rails[box.key])
        lines[-1] += f"{name}]" if stays else f"[{group}: {name}]" if group else name
        indent = (indent + {"├": "│", " ─┬": "│"}.get(stem, "")).ljust(_cells(lines[-1]) + 2)
        ways = leaving[box.key]
        stems = [" ─┬", *["├"] * (len(ways) - 2), "└"] if len(ways) > 1 else [" "]
        todo += [(indent, *way) for way in zip(stems, ways, strict=False)][::-1]
    return "\n".join(lines)


def _draw_rail(lines: list[str], ends: dict[int, int]) -> None:
    """Lead the lines numbered in ends, each from its given letter on, to one rail into the last line."""
    span = range(min(ends), len(lines))
    column = max(_cells(lines[number]) + (number not in ends) for number in span)
    for number in span:
        line, fill, corner = lines[number], " ", "│"
        if number in ends:
            end, fill, corner = ends[number], "─", {span[0]: "┐", span[-1]: "┴─> "}.get(number, "┤")
            line = line[:end] + line[end:].replace(" ", "─").replace("│", "┼")
        lines[number] = line + fill * (column - _cells(line)) + corner


def mermaid(picture: Picture) -> str:
    """The picture as a mermaid flowchart, with frames as subgraphs and the title as a comment.

    >>> print(mermaid(Picture((Box("a", "say", '"hi"'),), ())))
    flowchart LR
        n0("say<br/>#34;hi#34;"):::boxnode
        classDef boxnode fill:#dde9fd,stroke:#4a7fd6,color:#14305e
    """
    _sort(picture)
    lines = ["flowchart LR", *[f"    %% {_entities(_flat(picture.title))}"] * bool(picture.title)]
    ids = {box.key: f"n{number}" for number, box in enumerate(picture.boxes)}
    for box in picture.boxes:
        label = "<br/>".join(_entities(_flat(words)) for words in (box.label, box.detail) if words) or " "
        lines += [f'    {ids[box.key]}{_STYLES[box.kind][3]}"{label}"{_STYLES[box.kind][4]}:::box{box.kind}']
    for number, group in enumerate(dict.fromkeys(box.group for box in picture.boxes if box.group.strip())):
        members = [f"        {ids[box.key]}" for box in picture.boxes if box.group == group]
        lines += [f'    subgraph g{number}["{_entities(_flat(group))}"]', *members, "    end"]
    for arrow in picture.arrows:
        label = f'|"{_entities(_flat(arrow.label))}"|' if arrow.label.strip() else ""
        lines.append(f"    {ids[arrow.start]} -->{label} {ids[arrow.end]}")
    for kind in dict.fromkeys(box.kind for box in picture.boxes):
        lines.append("    classDef box{} fill:{},stroke:{},color:{}".format(kind, *_STYLES[kind]))
    return "\n".join(lines)


def svg(picture: Picture) -> str:
    """The picture as a stand-alone SVG, laid out in layers from left to right.

    >>> svg(Picture((Box("a", "range"),), ())).startswith("<svg ")
    True
    """
    _, layers, closing = _sort(picture)
    rooms, spots, routes = [48] * len(set(layers.values())), dict[str, _Spot](), list[list[_Spot]]()
    for box in picture.boxes:
        width = 28.0 + max(8 * _cells(box.label), 7 * _cells(box.detail), 7 * _cells(box.group), 32)
        spots[box.key] = _Spot(layers[box.key], box.group, 52 if box.detail else 36, right=width)
    for arrow in picture.arrows:
        start, end = spots[arrow.start], spots[arrow.end]
        rooms[start.layer] = max(rooms[start.layer], 7 * _cells(arrow.label) + 48)
        group = start.group if start.group == end.group else ""
        routes.append([start, *(_Spot(layer, group) for layer in range(start.layer + 1, end.layer)), end])
        for one, other in pairwise(routes[-1] * (arrow not in closing)):
            one.near[1].append(other)
            other.near[0].append(one)
    every = sorted(dict.fromkeys([*spots.values(), *chain(*routes)]), key=lambda spot: spot.layer)
    frames = _place([[*column] for _, column in groupby(every, key=lambda spot: spot.layer)], rooms)
    shapes = [_card(frame, _FRAME, (frame.group, 18 - frame.height / 2, 11)) for frame in frames]
    bottom = max((spot.y + spot.height / 2 for spot in (*every, *frames)), default=0.0)
    top = min((spot.y - spot.height / 2 for spot in (*every, *frames)), default=0) - 30 * bool(picture.title)
    tags = [_Spot(0, picture.title, 18, 0, 14 + 7 * _cells(picture.title), top + 9)] * bool(picture.title)
    for arrow, route in zip(picture.arrows, routes, strict=True):
        start, end, half, dash = route[0], route[-1], 3.5 * _cells(arrow.label) + 7, ""
        bows = [(a.right, a.y, (a.right + b.left) / 2 - 4, b.left - 8, b.y) for a, b in pairwise(route)]
        x, y = bows[0][2], (bows[0][1] + bows[0][4]) / 2
        if arrow in closing:
            # The way back runs below everything and turns in the room between layers, so it meets no box.
            bottom, away, home, dash = bottom + 26, start.right, end.left - 8, ' stroke-dasharray="5 4"'
            x, y = (away + home) / 2, bottom
            bows = [(away, start.y, away + 28, away, y), (home, y, home - 28, home, end.y)]
        path = "".join(f"L{x1} {y1}C{turn} {y1} {turn} {y2} {x2} {y2}" for x1, y1, turn, x2, y2 in bows)
        shapes.append(f'<path d="M{path[1:]}" fill="none" stroke="{_GREY}" stroke-width="1.5"{dash}/>')
        shapes.append(f'<path d="M{end.left} {end.y}l-9 -4.5v9z" fill="{_GREY}"/>')
        while any(max(x - half - one.right, one.left - x - half, abs(y - one.y) - 20) < 0 for one in tags):
            y += 20
        tags += [_Spot(0, arrow.label, 18, x - half, x + half, y)] * bool(arrow.label)
    for box in picture.boxes:
        words = [(box.label, 4 - 8 * bool(box.detail), 13), (box.detail, 15, 11)][: 1 + bool(box.detail)]
        shapes.append(_card(spots[box.key], _STYLES[box.kind], *words))
    shapes += [_card(tag, _TAG, (tag.group, 4, 11)) for tag in tags]
    margin = 42.0 if closing else 18.0
    width = max((spot.right for spot in (*every, *tags)), default=0.0) + 2 * margin
    height = max([bottom, *(tag.y + 9 for tag in tags)]) - top + 24
    head = f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width}" height="{height}"'
    head += f' viewBox="{-margin} {top - 12} {width} {height}" text-anchor="middle" font-family="{_FONT}">'
    return "\n".join([head, f"<title>{escape(_flat(picture.title)) or 'graph'}</title>", *shapes, "</svg>"])


@dataclass(slots=True, eq=False)
class _Spot:
    """The place of a box, a frame, a label, or the bend of an arrow; near are the places before and after."""

    layer: int
    group: str
    height: float = 4.0
    left: float = 0.0
    right: float = 0.0
    y: float = 0.0
    near: "tuple[list[_Spot], list[_Spot]]" = field(default_factory=lambda: ([], []))


def _sort(picture: Picture) -> tuple[dict[str, list[Arrow]], dict[str, int], set[Arrow]]:
    """The arrows from each box, the length of the longest way to it, and the arrows which close a cycle."""
    leaving: dict[str, list[Arrow]] = {box.key: [] for box in picture.boxes}
    if twice := [key for key, count in Counter(box.key for box in picture.boxes).items() if count > 1]:
        raise ValueError(f"several boxes have the key {twice[0]!r}")
    for arrow in picture.arrows:
        if unknown := {arrow.start, arrow.end} - leaving.keys():
            raise ValueError(f"the unknown box {min(unknown)!r} is an end of {arrow}")
        leaving[arrow.start].append(arrow)
    entries = Counter(arrow.end for arrow in picture.arrows)
    waiting, layers, closing = {key: entries[key] for key in leaving}, dict.fromkeys(leaving, 0), set()
    while waiting:
        # If all that is left waits in cycles, go on where one is entered: at a box already reached.
        key = min(waiting, key=lambda key: (waiting[key] > 0, waiting[key] == entries[key]))
        del waiting[key]
        for arrow in leaving[key]:
            if arrow.end in waiting:
                waiting[arrow.end] -= 1
                layers[arrow.end] = max(layers[arrow.end], layers[key] + 1)
            else:
                closing.add(arrow)
    return leaving, layers, closing


def _place(columns: list[list[_Spot]], rooms: list[int]) -> list[_Spot]:
    """Set the place of every spot, with rooms behind the layers, and give the places of the frames."""
    right = 0.0
    for column, room in zip(columns, rooms, strict=True):
        left, right = right, right + max(spot.right for spot in column)
        for spot in column:
            spot.left, spot.right = left, right
        right += room
    for turn in range(17):
        for column in columns[:: -1 if turn % 2 else 1]:
            for spot in column:
                spot.y = fmean(other.y for other in spot.near[turn % 2] or [spot])
            column.sort(key=lambda spot: spot.y)
            steps = ((a.height + b.height) / 2 + 18 + 38 * (a.group != b.group) for a, b in pairwise(column))
            levels = [*accumulate(steps, initial=0.0)]
            wishes = [spot.y - level for spot, level in zip(column, levels, strict=True)]
            # Halfway between pushing what collides all down and pushing it all up lies a symmetric layout.
            pushes = zip(accumulate(wishes, max), [*accumulate(wishes[::-1], min)][::-1], strict=True)
            for spot, level, push in zip(column, levels, pushes, strict=True):
                spot.y = round(level + fmean(push))
    units: defaultdict[object, list[_Spot]] = defaultdict(list)
    for spot in (spot for column in columns for spot in column):
        units[spot.group or spot].append(spot)
    floors, frames = [float("-inf")] * len(columns), []
    # A frame may hold nothing but its own boxes: what overlaps the frame above it moves down as a whole.
    for unit in sorted(units.values(), key=lambda unit: fmean(spot.y for spot in unit)):
        framed, span = bool(unit[0].group), slice(unit[0].layer, unit[-1].layer + 1)
        wish = min(spot.y - spot.height / 2 for spot in unit) - 26 * framed
        top = max(wish, *floors[span])
        for spot in unit:
            spot.y += top - wish
        bottom = max(spot.y + spot.height / 2 for spot in unit) + 12 * framed
        floors[span] = [bottom + 18] * len(floors[span])
        sides = unit[0].left - 12, unit[-1].right + 12
        frames += [_Spot(0, unit[0].group, bottom - top, *sides, (top + bottom) / 2)] * framed
    return frames


def _card(spot: _Spot, style: Sequence[str], *lines: tuple[str, float, int]) -> str:
    """A rounded box in the fill, stroke and ink of the style, and lines of words, drop and font size."""
    top, middle = spot.y - spot.height / 2, (spot.left + spot.right) / 2
    card = f'<rect x="{spot.left}" y="{top}" width="{spot.right - spot.left}" height="{spot.height}" rx="8"'
    card += f' fill="{style[0]}" stroke="{style[1]}"/>'
    for words, drop, size in lines:
        card += f'<text x="{middle}" y="{spot.y + drop}" font-size="{size}" fill="{style[2]}"'
        card += f' font-weight="{400 + 200 * (size > 11)}">{escape(_flat(words))}</text>'
    return card


def _flat(words: str) -> str:
    """The words on one line, without what a terminal would obey or XML forbids."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", " ".join(words.expandtabs(4).splitlines()))


def _cells(words: str) -> int:
    """How many cells of a monospaced font the words take."""
    return sum(1 + (east_asian_width(letter) in "WF") for letter in _flat(words) if not combining(letter))

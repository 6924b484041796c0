"""The laws of kayrx.render: what its text, mermaid, SVG and tables promise for every picture."""

import doctest
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import combinations, pairwise
from xml.etree import ElementTree

import pytest

from kayrx import render
from kayrx.render import Arrow, Box, Picture, mermaid, svg, table, text

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = [
    "<script>alert(1)</script>", '"]', "&", "&amp;", "🎉 日本", "two\nlines", "a;b", "# h", "`c`", "]]>",
    "-->", "|", "1. one", "- x", "__init__", "%%{init: {}}%%", "end", "\x1b[31m\x00\ud800\ufffe", "\ttab",
    "#quot;", "'", "\n", "",
]  # fmt: skip
DRAWINGS = [text, mermaid, svg]
Rectangle = tuple[float, float, float, float]


def picture(*chains: str, title: str = "", frames: str = "", **details: str) -> Picture:
    """A picture of chains like "a b c"; frames is a chain of boxes which lie in one frame."""
    keys = dict.fromkeys(key for chain in chains for key in chain.split())
    framed = frames.split()
    boxes = (Box(key, key, details.get(key, ""), group="frame" if key in framed else "") for key in keys)
    arrows = (Arrow(*pair) for chain in chains for pair in pairwise(chain.split()))
    return Picture(tuple(boxes), tuple(arrows), title)


def pictures(*, cyclic: bool, framed: bool) -> Iterator[Picture]:
    """Random pictures with boxes of random size, the same ones on every run."""
    for seed in range(60):
        chance = random.Random(seed)
        count = chance.randrange(2, 16)
        pairs = {tuple(chance.sample(range(count), 2)) for _ in range(chance.randrange(2 * count))}
        ends = [pair if cyclic else (min(pair), max(pair)) for pair in sorted(pairs)]
        details = ["x" * chance.choice([0, 3, 30]) for _ in range(count)]
        groups = [chance.choice(["", "f", "g"]) * framed for _ in range(count)]
        boxes = (Box(f"n{n}", f"n{n}", details[n], group=groups[n]) for n in range(count))
        arrows = dict.fromkeys(Arrow(f"n{start}", f"n{end}") for start, end in ends)
        yield Picture(tuple(boxes), tuple(arrows))


def hostile() -> Picture:
    """A picture with something nasty in every place."""
    boxes = [Box(word, word, HOSTILE[-number], group=word) for number, word in enumerate(HOSTILE)]
    arrows = [Arrow(one, other, one) for one, other in pairwise(HOSTILE)]
    return Picture(tuple(boxes), tuple(arrows), " ".join(HOSTILE))


def traced(drawing: str) -> set[tuple[str, str]]:
    """The arrows which a reader sees who follows the lines of a text with his finger."""
    lines = drawing.splitlines()
    cells = {(row, column): cell for row, line in enumerate(lines) for column, cell in enumerate(line)}
    found = [(row, hit) for row, line in enumerate(lines) for hit in re.finditer(r"n\d+", line)]
    names = {(row, hit.start()): hit[0] for row, hit in found}
    seen = set()
    for (row, column), name in names.items():
        after = column + len(name)
        fingers = [(row, after + 1, "right")] * lines[row].startswith((" ─", " -"), after)
        while fingers:
            row, column, way = fingers.pop()
            cell = cells.get((row, column), "")
            if (row, column) in names:
                seen.add((name, names[row, column]))
            elif cell in ("┬", "├"):
                fingers += [(row, column + 1, "right"), (row + 1, column, "down")]
            elif cell in ("└", "┴", "-", "─", ">") or (cell == "┼" and way == "right"):
                fingers.append((row, column + 1 + (cell == ">"), "right"))
            elif cell in ("┐", "┤", "│", "┼"):
                fingers.append((row + 1, column, "down"))
    return seen


def rectangles(drawing: str, fills: set[str]) -> list[Rectangle]:
    """The left, top, right and bottom of the rectangles with one of the fills, in the order of drawing."""
    found = []
    for shape in ElementTree.fromstring(drawing).iter(f"{SVG}rect"):
        if shape.get("fill") in fills:
            left, top, width, height = (float(shape.attrib[name]) for name in ("x", "y", "width", "height"))
            found.append((left, top, left + width, top + height))
    return found


def boxes_of(drawing: str) -> list[Rectangle]:
    """The rectangles of the boxes, in the order of the picture."""
    return rectangles(drawing, {style[0] for style in render._STYLES.values()})


def inside(inner: Rectangle, outer: Rectangle) -> bool:
    """Whether the inner rectangle lies in the outer one."""
    return outer[0] <= inner[0] and outer[1] <= inner[1] and inner[2] <= outer[2] and inner[3] <= outer[3]


def apart(one: Rectangle, other: Rectangle) -> bool:
    """Whether two rectangles have no point in common."""
    return one[2] < other[0] or other[2] < one[0] or one[3] < other[1] or other[3] < one[1]


def points(path: str) -> Iterator[tuple[float, float]]:
    """Many points on a path of absolute moves, lines and cubic curves."""
    x = y = 0.0
    for command, numbers in re.findall(r"([MLC])([^A-Za-z]*)", path):
        values = [float(value) for value in numbers.split()]
        x1, y1, x2, y2, x3, y3 = values if command == "C" else [x, y, *values, *values]
        for step in range(1, 41) if command != "M" else [40]:
            t = step / 40
            weights = (1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3
            yield (
                sum(map(float.__mul__, weights, (x, x1, x2, x3))),
                sum(map(float.__mul__, weights, (y, y1, y2, y3))),
            )
        x, y = x3, y3


def lines_of(drawing: str) -> list[list[tuple[float, float]]]:
    """The points of the line of each arrow, in the order of the picture."""
    paths = ElementTree.fromstring(drawing).iter(f"{SVG}path")
    return [list(points(path.attrib["d"])) for path in paths if path.get("fill") == "none"]


class TestText:
    def test_chain(self) -> None:
        """A chain is one line of labels and details with arrows between."""
        chain = picture("source map to_list", source="range", map="double")
        assert text(chain) == "source range -> map double -> to_list"

    def test_arrow_label(self) -> None:
        """The label of an arrow stands on its line."""
        assert text(Picture((Box("a", "a"), Box("b", "b")), (Arrow("a", "b", "yes"),))) == "a -yes-> b"

    def test_fork_and_join(self) -> None:
        """A fork parts its line, a join gathers the lines, both nest, and crossing lines cross visibly."""
        assert text(picture("s a c d z", "a d", "s e z", "s x")) == "\n".join(
            [
                "s ─┬─> a ─┬─> c ─┐",
                "   │      └──────┴─> d ─┐",
                "   ├─> e ───────────────┴─> z",
                "   └─> x",
            ]
        )
        assert text(picture("a c", "a d", "b c", "b d")) == "\n".join(
            [
                "a ─┬──┐",
                "   └──┼─────┐",
                "b ─┬──┴─> c │",
                "   └────────┴─> d",
            ]
        )

    def test_sources(self) -> None:
        """Every box without an entry starts a line of its own."""
        assert text(picture("a z", "b z", "c")) == "a ─┐\nb ─┴─> z\nc"

    def test_says_what_the_picture_says(self) -> None:
        """Who follows the lines finds every arrow of the picture and no other."""
        for each in pictures(cyclic=False, framed=False):
            bare = Picture(tuple(Box(box.key, box.key) for box in each.boxes), each.arrows)
            assert traced(text(bare)) == {(arrow.start, arrow.end) for arrow in each.arrows}

    def test_cycle(self) -> None:
        """An arrow which closes a cycle names the box to which it goes back, where the cycle was entered."""
        assert text(picture("b c", "s a b a", "c c")) == "\n".join(
            ["s -> a -> b ─┬─> c -> (back to c)", "             └─> (back to a)"]
        )
        assert text(picture("a b c a")) == "a -> b -> c -> (back to a)"

    def test_each_box_once(self) -> None:
        """Every box is drawn once, also in pictures of nothing but cycles."""
        for each in pictures(cyclic=True, framed=False):
            drawn = re.findall(r"(?<!to )n\d+", text(each))
            assert sorted(drawn) == sorted(box.key for box in each.boxes)

    def test_frames(self) -> None:
        """Neighbours in one frame share its brackets; a frame ends where a line forks or joins."""
        assert text(picture("a b c d", frames="b c")) == "a -> [frame: b -> c] -> d"
        assert text(picture("a b", "a c", frames="a b")) == "[frame: a] ─┬─> [frame: b]\n            └─> c"

    def test_title(self) -> None:
        """A title is the first line."""
        assert text(picture("a b", title="plan")) == "plan\na -> b"

    def test_wide_letters(self) -> None:
        """Letters which take two cells do not bend the lines."""
        assert text(picture("s 日本 z", "s a z")) == "s ─┬─> 日本 ─┐\n   └─> a ────┴─> z"

    def test_unprintable(self) -> None:
        """Nothing in a picture can control the terminal or break a line."""
        assert text(Picture((Box("a", "\x1b[31m\r\n\x07", "x\ny"),), ())) == "�[31m � x y"
        assert all(line.isprintable() for line in text(hostile()).split("\n"))


class TestMermaid:
    def test_graph(self) -> None:
        """Boxes become nodes shaped and coloured by kind, arrows edges, frames subgraphs."""
        start, end = Box("x y", "range", "3", "source"), Box("z", "all", "", "sink")
        boxes = start, Box("end", "map", group="segment 1"), end
        arrows = Arrow("x y", "end"), Arrow("end", "z", "yes")
        drawing = mermaid(Picture(boxes, arrows, "plan"))
        assert drawing.split("\n    classDef")[0] == "\n".join(
            [
                "flowchart LR",
                "    %% plan",
                '    n0(["range<br/>3"]):::boxsource',
                '    n1("map"):::boxnode',
                '    n2(["all"]):::boxsink',
                '    subgraph g0["segment 1"]',
                "        n1",
                "    end",
                "    n0 --> n1",
                '    n1 -->|"yes"| n2',
            ]
        )
        colours = re.findall(r"classDef (\w+) fill:#\w+,stroke:#\w+,color:#\w+", drawing)
        assert colours == ["boxsource", "boxnode", "boxsink"]

    def test_escapes(self) -> None:
        """Quotes hold nothing but letters, harmless signs and entities, which mean the label as it was."""
        drawing = mermaid(hostile())
        labels = re.findall(r'"([^\n]*)"', drawing.replace("<br/>", '""'))
        words = [part for label in labels for part in label.split('""')]
        assert all(re.fullmatch(r"([\w\s,:=.🎉�-]|#\d+;)*", word) for word in words)
        assert not any(re.match(r"\d+\. |- |__", word) for word in words)
        meant = [re.sub(r"#(\d+);", lambda hit: chr(int(hit[1])), word) for word in words]
        assert set(meant) >= {word for word in HOSTILE if word.isprintable() and word}

    def test_no_empty_quotes(self) -> None:
        """Mermaid cannot read empty quotes, so empty labels become a space or nothing."""
        blank = Picture((Box("a", ""), Box("b", "\n", group="\n")), (Arrow("a", "b", "\n"),))
        assert '""' not in mermaid(hostile()) + mermaid(blank)

    def test_words_stay_readable(self) -> None:
        """Dots, dashes and underscores inside words stay as they are."""
        assert "to_list 1.5 a-b" in mermaid(Picture((Box("a", "to_list 1.5 a-b"),), ()))


class TestSvg:
    def test_stands_alone(self) -> None:
        """The SVG is an image with a title, made of shapes and text only; it loads and runs nothing."""
        for drawing in map(svg, [hostile(), picture("a b c a", "a c", frames="a b")]):
            root = ElementTree.fromstring(drawing)
            assert root.tag == f"{SVG}svg"
            assert root.get("role") == "img"
            assert root[0].tag == f"{SVG}title"
            assert {part.tag for part in root[1:]} <= {SVG + "rect", SVG + "path", SVG + "text"}
            assert not re.search(r"url\(|href|\son\w+=|@import", re.sub(r">[^<]*<", "><", drawing))
        assert ElementTree.fromstring(svg(picture("a", title="plan")))[0].text == "plan"

    def test_words(self) -> None:
        """Every label, detail, arrow label, frame name and title is there, with its letters unchanged."""
        words = [part.text for part in ElementTree.fromstring(svg(hostile())).iter(f"{SVG}text")]
        for word in HOSTILE:
            if word.isprintable() and word:
                assert words.count(word) == 4
        titled = ElementTree.fromstring(svg(picture("a", title="plan")))
        assert "plan" in [part.text for part in titled.iter(f"{SVG}text")]

    @pytest.mark.parametrize("cyclic", [False, True])
    @pytest.mark.parametrize("framed", [False, True])
    def test_boxes_apart(self, cyclic: bool, framed: bool) -> None:
        """No two boxes overlap, whatever their sizes, forks, joins, cycles and frames."""
        for each in pictures(cyclic=cyclic, framed=framed):
            drawn = boxes_of(svg(each))
            assert len(drawn) == len(each.boxes)
            assert all(apart(one, other) for one, other in combinations(drawn, 2))

    def test_frames(self) -> None:
        """A frame holds all of its boxes and nothing of any other; frames do not overlap."""
        for each in pictures(cyclic=True, framed=True):
            drawing = svg(each)
            frames = rectangles(drawing, {render._FRAME[0]})
            assert len(frames) == len({box.group for box in each.boxes} - {""})
            assert all(apart(one, other) for one, other in combinations(frames, 2))
            for box, area in zip(each.boxes, boxes_of(drawing), strict=True):
                homes = [frame for frame in frames if not apart(area, frame)]
                assert len(homes) == bool(box.group)
                assert all(inside(area, frame) for frame in homes)

    @pytest.mark.parametrize("cyclic", [False, True])
    def test_lines(self, cyclic: bool) -> None:
        """The line of an arrow runs from the right of its start to the left of its end and meets no box."""
        for each in pictures(cyclic=cyclic, framed=True):
            drawing = svg(each)
            places = dict(zip((box.key for box in each.boxes), boxes_of(drawing), strict=True))
            for arrow, line in zip(each.arrows, lines_of(drawing), strict=True):
                start, end = places[arrow.start], places[arrow.end]
                assert line[0] == (start[2], (start[1] + start[3]) / 2)
                assert line[-1] == (end[0] - 8, (end[1] + end[3]) / 2)
                for left, top, right, bottom in places.values():
                    assert not any(left < x < right and top < y < bottom for x, y in line)

    def test_left_to_right(self) -> None:
        """Without cycles all arrows point to the right; a box stands right behind its last predecessor."""
        for each in pictures(cyclic=False, framed=False):
            places = dict(zip((box.key for box in each.boxes), boxes_of(svg(each)), strict=True))
            sides = sorted({place[0] for place in places.values()})
            layers = {key: sides.index(place[0]) for key, place in places.items()}
            for key, layer in layers.items():
                before = [layers[arrow.start] for arrow in each.arrows if arrow.end == key]
                assert layer == max(before, default=-1) + 1

    def test_trees(self) -> None:
        """No two lines of a tree cross, in whatever order its boxes come."""
        for seed in range(20):
            chance = random.Random(seed)
            arrows = [Arrow(f"n{chance.randrange(number)}", f"n{number}") for number in range(1, 20)]
            keys = chance.sample(range(20), 20)
            tree = Picture(tuple(Box(f"n{key}", f"n{key}") for key in keys), tuple(arrows))
            lines = [(line[0], line[-1]) for line in lines_of(svg(tree))]
            for (start, end), (start2, end2) in combinations(lines, 2):
                assert start[0] != start2[0] or (start[1] - start2[1]) * (end[1] - end2[1]) >= 0

    def test_cycles(self) -> None:
        """Arrows which close a cycle are dashed curves below all boxes; a box may point to itself."""
        drawing = svg(picture("a b c b", "c c"))
        paths = ElementTree.fromstring(drawing).iter(f"{SVG}path")
        dashes = [path.get("stroke-dasharray") for path in paths if path.get("fill") == "none"]
        assert dashes == [None, None, "5 4", "5 4"]
        lowest = max(place[3] for place in boxes_of(drawing))
        assert all(max(y for _, y in line) > lowest for line in lines_of(drawing)[2:])

    def test_straight_chain(self) -> None:
        """A chain is a straight line, and the middle way through a symmetric fork is straight too."""
        assert len({y for line in lines_of(svg(picture("a b c d"))) for _, y in line}) == 1
        drawing = svg(picture("s a z", "s b z", "s c z"))
        assert len({(top + bottom) / 2 for _, top, _, bottom in boxes_of(drawing)}) == 3

    def test_everything_in_view(self) -> None:
        """The image is exactly as large as its view, which holds every shape."""
        titled = picture("a", title="a title which is wider than the box")
        for drawing in map(svg, [*pictures(cyclic=True, framed=True), hostile(), titled]):
            root = ElementTree.fromstring(drawing)
            left, top, width, height = map(float, root.attrib["viewBox"].split())
            assert (root.get("width"), root.get("height")) == (str(width), str(height))
            fills = {shape.attrib["fill"] for shape in root.iter(f"{SVG}rect")}
            view = (left, top, left + width, top + height)
            assert all(inside(area, view) for area in rectangles(drawing, fills))
            assert all(inside((x, y, x, y), view) for line in lines_of(drawing) for x, y in line)

    def test_words_fit(self) -> None:
        """A box is wider than its words in a monospaced font, of which wide letters take twice the room."""
        for word in ["i", "a label of some length", "日本" * 9, "MMMM"]:
            for box in (Box("a", word), Box("a", "a", word), Box("a", "a", group=word)):
                (place,) = boxes_of(svg(Picture((box,), ())))
                size = 13 if box.label == word else 11
                assert place[2] - place[0] > len(word) * (2 if word[0] == "日" else 1) * size * 0.6 + 20

    def test_arrow_labels(self) -> None:
        """Labels of arrows overlap neither each other nor a box, even those between the same boxes."""
        arrows = [Arrow(start, end, f"from {start} to {end}") for start in "ab" for end in "cd"]
        arrows += [Arrow("a", "c", "again"), Arrow("d", "d", "round")]
        drawing = svg(Picture(tuple(Box(key, key) for key in "abcd"), tuple(arrows)))
        labels = rectangles(drawing, {render._TAG[0]})
        assert len(labels) == len(arrows)
        assert all(apart(one, other) for one, other in combinations([*labels, *boxes_of(drawing)], 2))

    def test_kinds(self) -> None:
        """Each kind has colours of its own."""
        ends = Box("a", "a", "", "source"), Box("b", "b", "", "sink")
        others = Box("c", "c"), Box("d", "d", "", "gate"), Box("e", "e", "", "fan")
        drawing = svg(Picture((*ends, *others), ()))
        assert len({shape.get("fill") for shape in ElementTree.fromstring(drawing).iter(f"{SVG}rect")}) == 5


class TestTable:
    def test_columns(self) -> None:
        """Columns are as wide as their widest cell, numbers may stand right, and no line ends in spaces."""
        assert table(["name", "n"], [["map", 7], ["filter", 12], [None, ""]], align="lr").split("\n") == [
            "name     n",
            "──────  ──",
            "map      7",
            "filter  12",
            "None",
        ]

    def test_cells(self) -> None:
        """A cell is one line of printable letters; wide letters take two cells."""
        assert table(["a", "b"], [["日本", "x\ny"], ["e\u0301", "\x1b"]]).split("\n") == [
            "a     b",
            "────  ───",
            "日本  x y",
            "e\u0301     �",
        ]

    def test_empty(self) -> None:
        """Without rows there is a head, without columns nothing."""
        assert table(["a"], []) == "a\n─"
        assert table([], []).strip() == ""

    @pytest.mark.parametrize("rows, align", [([["a"]], ""), ([["a", "b", "c"]], ""), ([], "lrl")])
    def test_misfit(self, rows: list[list[str]], align: str) -> None:
        """A row or an align which does not fit the head raises ValueError."""
        with pytest.raises(ValueError, match="2 columns"):
            table(["x", "y"], rows, align=align)


@pytest.mark.parametrize("draw", DRAWINGS)
class TestEveryDrawing:
    def test_unknown_box(self, draw: Callable[[Picture], str]) -> None:
        """An arrow at an unknown box raises ValueError with its name."""
        for arrow in (Arrow("a", "ghost"), Arrow("ghost", "a")):
            with pytest.raises(ValueError, match="unknown box 'ghost'"):
                draw(Picture((Box("a", "a"),), (arrow,)))

    def test_duplicate_key(self, draw: Callable[[Picture], str]) -> None:
        """Two boxes with one key raise ValueError with the key."""
        with pytest.raises(ValueError, match="several boxes have the key 'twin'"):
            draw(Picture((Box("twin", "a"), Box("b", "b"), Box("twin", "c")), ()))

    def test_empty(self, draw: Callable[[Picture], str]) -> None:
        """An empty picture has an empty drawing."""
        drawing = draw(Picture((), ()))
        assert drawing in ("", "flowchart LR") or not list(ElementTree.fromstring(drawing).iter(f"{SVG}rect"))

    def test_long(self, draw: Callable[[Picture], str]) -> None:
        """Long chains, wide forks and large cycles are no trouble."""
        cycle = " ".join([*(f"n{number}" for number in range(1500)), "n0"])
        assert draw(picture(cycle, *(f"s m{number} z" for number in range(300))))

    def test_same_in_every_process(self, draw: Callable[[Picture], str]) -> None:
        """Equal pictures have equal drawings, whatever the hash seed."""
        program = (
            "from kayrx import render\n"
            "boxes = tuple(render.Box(k, k, group='xyz'[i % 3]) for i, k in enumerate('abcdefghijklm'))\n"
            "arrows = tuple(render.Arrow(a, b, a + b) for a, b in zip('abcdefghijaceg', 'bcafghijdjfhbg'))\n"
            f"print(ascii(render.{draw.__name__}(render.Picture(boxes, arrows))))"
        )
        command = [sys.executable, "-c", program]
        seeds = [os.environ | {"PYTHONHASHSEED": seed} for seed in "123"]
        outputs = {subprocess.check_output(command, env=environment) for environment in seeds}
        assert len(outputs) == 1


def test_examples() -> None:
    """The examples in the docstrings are true, and every drawing has one."""
    assert doctest.testmod(render) == (0, 5)

"""A graph is a value (law 1): it compares, hashes, prints, pickles, and does nothing until it is run."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, strategies as st

import kayrx as kx
from kayrx.graph.graph import Graph


def double(x: int) -> int:
    return x * 2


def even(x: int) -> bool:
    return x % 2 == 0


def written(n: int = 3) -> Graph[Any, int]:
    return kx.source([1, 2, 3]) >> kx.map(double) >> kx.filter(even) >> kx.take(n)


def test_equal_graphs_are_equal_and_hash_alike() -> None:
    """Two graphs written alike, on different lines, are equal and have equal hashes."""
    open_ = kx.map(double) >> kx.filter(even) >> kx.take(3)
    again = kx.map(double) >> kx.filter(even) >> kx.take(3)

    assert written() == written() and open_ == again
    assert hash(open_) == hash(again)
    assert len({open_, again, kx.take(3)}) == 2


def test_graphs_differ_by_any_field_and_by_name() -> None:
    """A field, a function or a name makes the difference; functions compare by identity."""
    assert written(3) != written(4)
    assert kx.map(double) != kx.map(even)
    assert kx.map(lambda x: x) != kx.map(lambda x: x)
    assert kx.map(double) != kx.map(double).named("twice")
    assert kx.map(kx.it + 1) == kx.map(kx.it + 1)


def test_running_does_not_change_equality_or_text() -> None:
    """What a graph keeps for its runs is no part of its value."""
    fresh, used = written(), written()
    before = repr(used)

    used.run()
    used.collect()

    assert used == fresh and repr(used) == before


def test_repr_shows_the_nodes_and_no_line_numbers() -> None:
    """The text of a graph is the text of its nodes; where it was written is no part of it."""
    assert repr(kx.take(2) >> kx.skip(1)) == "Graph(nodes=(Take(count=2), Skip(count=1)))"
    assert repr(kx.source([1]) >> kx.to_list()).startswith("Sink(nodes=(Source(what=[1], ")


def test_a_graph_cannot_be_changed() -> None:
    """Nodes and graphs are frozen."""
    graph = kx.take(2)

    with pytest.raises(AttributeError):
        graph.nodes = ()  # type: ignore[misc]
    with pytest.raises(AttributeError):
        graph.nodes[0].count = 3  # type: ignore[attr-defined]


def test_a_graph_of_module_level_functions_travels() -> None:
    """Pickle gives an equal graph that gives the same answer."""
    graph = written() >> kx.map(kx.it + 1) >> kx.scan(max) >> kx.buffer(count=2)

    arrived = pickle.loads(pickle.dumps(graph))

    assert arrived == graph
    assert arrived.collect() == graph.collect() == [[3, 5], [7]]


def test_a_sink_travels_as_a_sink() -> None:
    """The type of the graph survives pickling too."""
    sink = pickle.loads(pickle.dumps(written() >> kx.to_list()))

    assert isinstance(sink, kx.Sink) and sink.run() == [2, 4, 6]


def test_used_graphs_travel_too() -> None:
    """Compiled code stays behind."""
    graph = written()
    graph.run()

    assert pickle.loads(pickle.dumps(graph)) == graph


@pytest.mark.parametrize("live", [
    kx.source(iter([1])).named("feed"), kx.source(x for x in [1]).named("feed"),
    kx.queue_source(2).named("feed"), kx.sink([]).named("feed"),
], ids=["iterator", "generator", "queue_source", "sink(list)"])
def test_live_objects_stay_here_by_name(live: Graph[Any, Any]) -> None:
    """A graph that holds a live object refuses to pickle, naming the node and the remedy (ruling 21)."""
    with pytest.raises(kx.GraphError, match=r"'feed' .*test_graph\.py.*resource\(factory\)"):
        pickle.dumps(live)


PIECES = [kx.map(double), kx.filter(even), kx.take(3), kx.skip(1), kx.buffer(count=2), kx.tap(double),
          kx.retry(2), kx.skip_errors(), kx.scan(max), kx.map(kx.it + 1)]


@given(st.lists(st.sampled_from(PIECES), min_size=2, max_size=8), st.data())
def test_composition_is_associative(pieces: list[Graph[Any, Any]], data: st.DataObject) -> None:
    """However ``>>`` is bracketed, the graph is the same, stored flat (ruling 9)."""
    def bracketed(parts: list[Graph[Any, Any]]) -> Graph[Any, Any]:
        if len(parts) == 1:
            return parts[0]
        at = data.draw(st.integers(1, len(parts) - 1))
        return bracketed(parts[:at]) >> bracketed(parts[at:])

    left = pieces[0]
    for piece in pieces[1:]:
        left = left >> piece

    assert bracketed(pieces) == left
    assert len(left.nodes) == len(pieces)


def test_named_labels_one_node_and_prefixes_several() -> None:
    """One node takes the name; in a longer series names nest; behaviour never changes."""
    series = (kx.map(double) >> kx.filter(even).named("pairs")).named("parse")

    assert kx.map(double).named("twice").nodes[0].label == "twice"
    assert [n.label for n in series.nodes] == ["parse.double", "parse.pairs"]
    assert [n.label for n in series.named("outer").nodes] == ["outer.parse.double", "outer.parse.pairs"]
    assert (kx.source([1, 2]) >> series).collect() == [2, 4]


def test_an_empty_name_is_refused_where_it_is_written() -> None:
    """``named("")`` is a GraphError."""
    with pytest.raises(kx.GraphError, match="name is empty"):
        kx.map(double).named("")


def test_a_graph_has_no_truth_value_and_is_no_iterable() -> None:
    """``if graph`` and ``list(graph)`` would hide a run, so they fail (ruling 30)."""
    with pytest.raises(kx.GraphError, match="no truth value"):
        bool(kx.take(1))
    with pytest.raises(TypeError, match="not iterable"):
        list(written())  # type: ignore[call-overload]


def test_the_line_of_a_node_is_the_line_that_wrote_it() -> None:
    """Each node knows the user's line, also when ``>>`` or a derived operator made it."""
    line = sys._getframe().f_lineno
    explicit = kx.map(double)
    sugar = kx.source([1]) >> double
    derived = kx.count()
    fan = kx.source([1]) >> [kx.map(double), kx.take(1)] >> kx.merge()

    lines = [explicit.nodes[0], sugar.nodes[1], derived.nodes[0], fan.nodes[1]]
    assert [n.written.line - line for n in lines if n.written] == [1, 2, 3, 4]
    assert {n.written.file for n in lines if n.written} == {__file__}


def test_writing_opens_nothing() -> None:
    """A source is not touched when a graph is written, printed, compared, drawn or explained."""
    def untouchable() -> list[int]:
        raise AssertionError("opened")

    graph = kx.source(untouchable) >> kx.map(double)

    assert graph == kx.source(untouchable) >> kx.map(double)
    assert graph.draw() and graph.explain() and repr(graph)


@pytest.mark.parametrize("code", [
    "import kayrx",
    "import kayrx as kx; g = kx.source([1]) >> kx.map(str) >> kx.buffer(2, 1.0) >> kx.retry(2) >> kx.to_list()",
    "import kayrx as kx; print((kx.source([1]) >> kx.map(str)).explain())",
], ids=["import", "write", "explain"])
def test_writing_a_graph_loads_nothing_heavy(code: str) -> None:
    """Importing kayrx, writing and explaining a graph load neither reactivex nor an event loop."""
    probe = f"{code}\nimport sys; print(sorted({{'reactivex', 'anyio', 'asyncio', 'trio'}} & set(sys.modules)))"

    out = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=30, check=True)

    assert out.stdout.splitlines()[-1] == "[]"


def test_a_notebook_sees_text_mermaid_and_svg(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rich display needs no network: three strings, made here."""
    monkeypatch.setattr("socket.socket", None)

    bundle = written()._repr_mimebundle_()

    assert set(bundle) == {"text/plain", "text/vnd.mermaid", "image/svg+xml"}
    assert bundle["text/plain"].splitlines()[0].startswith("source")
    assert bundle["text/vnd.mermaid"].startswith("flowchart LR")
    assert bundle["image/svg+xml"].startswith("<svg ") and "http://" not in bundle["image/svg+xml"].replace(
        "http://www.w3.org/2000/svg", "")


def test_an_unknown_drawing_is_refused() -> None:
    """``draw`` names the forms there are."""
    with pytest.raises(kx.GraphError, match="text, mermaid, svg"):
        kx.take(1).draw("png")


def test_a_unit_is_one_node() -> None:
    """Only ``unit`` groups; its label is its name, and it must be open at both ends."""
    parse = kx.unit(kx.map(int) >> kx.map(double), name="parse")

    assert len(parse.nodes) == 1 and parse.nodes[0].label == "parse"
    assert kx.unit(kx.map(int)).nodes[0].label == "unit"
    for wrong in (kx.source([1]), kx.map(int) >> kx.to_list()):
        with pytest.raises(kx.GraphError, match="open at both ends"):
            kx.unit(wrong)
    with pytest.raises(kx.GraphError, match="takes a graph, got function"):
        kx.unit(double)  # type: ignore[arg-type]

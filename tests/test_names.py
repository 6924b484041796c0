"""Names: each public name has a picture, a row among the laws, a comparison with RxPY, and a claim about its types.

Read from the tables of the other tests, so a new name is red until it has all four, and a row for what is gone too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import kayrx as kx
from kayrx.nodes.differences import DIFFERENCES

HERE = Path(__file__).parent


def words(text: str) -> list[str]:
    return text.split()


FEATURES = words("""
    source interval timer lines tail queue_source Subject  sink each to_list
    broadcast balance partition branch divert_to also_to wire_tap
    merge concat zip combine_latest with_latest_from zip_latest race merge_prioritized  loop share unit rx
    map flat_map concat_map switch_map exhaust_map scan reduce expand tap pairwise materialize dematerialize with_index
    timestamp count sum it  filter take skip take_while skip_while take_until skip_until take_last first last element_at
    distinct distinct_until_changed default_if_empty ignore_elements
    buffer sliding window group_by window_by stateful_map join  debounce throttle_first sample delay timeout keep_alive
    backpressure conflate rate_limit prefetch pause_when chunk coalesce  threads processes  checkpoint
    """)
"""What a graph is written with, and what its operators are called."""

GUARDS = words("""
    retry fallback catch on_error_return skip_errors dead_letter  circuit_breaker bulkhead hedge deadline  settled
    """)

VALUES = words("""
    AbandonedCall BulkheadFull CallTimeout CircuitOpen CompileError DeadlineExceeded GateDeadlock GateOverflow
    GraphError KayrxError MissingDependency RunError WorkerDied  Graph Node Sink Options Placement Replayable Run World
    Failed Letter Window Timestamp Notification OnNext OnError OnCompleted  constant exponential fibonacci resource
    Retract memory_checkpoints sqlite_checkpoints CheckpointStore
    memory_letters json_letters sqlite_letters LetterStore Replayed Codec pickle_codec
    """)
"""Types, errors, and values that are given to a name above: they have no picture of their own."""

LAWS_ELSEWHERE = {
    "queue_source": "serves one run and is fed from outside: tests/runtime/test_queue.py",
    "Subject": "is fed from outside: tests/runtime/test_subject.py",
    "processes": "takes its time to start: a test of its own in tests/test_laws.py",
    "checkpoint": "saves the places of sources, which an open graph has none of: tests/runtime/test_saving.py",
}
NO_NAMESAKE = {
    "lines": "RxPY reads no files", "tail": "RxPY reads no files",
    "queue_source": "RxPY has no source that can make its feeder wait",
    "balance": "Pekko's", "branch": "Pekko's, KayGraph's", "also_to": "Pekko's", "divert_to": "Pekko's",
    "wire_tap": "Pekko's", "loop": "Pekko's cycles",
    "unit": "RxPY's pipe() groups nothing", "rx": "is RxPY's operator itself",
    "window_by": "RxPY knows no event time", "stateful_map": "Bytewax's",
    "keep_alive": "Pekko's", "backpressure": "RxPY has no bounded queue", "conflate": "Pekko's", "coalesce": "Pekko's",
    "rate_limit": "Pekko's throttle; RxPY's names of that kind drop", "prefetch": "Reactor's",
    "pause_when": "gone from Rx since RxJS 4",
    "threads": "a thread per call is no operator: RxPY's observe_on moves the stream",
    "processes": "RxPY knows no processes", "skip_errors": "RxPY's catch ends the stream", "dead_letter": "nobody's",
    "checkpoint": "Flink's",
    "fallback": "Reactor's onErrorResume; RxPY's catch", "on_error_return": "RxJava's",
    "circuit_breaker": "RxPY has none", "bulkhead": "RxPY has none",
    "hedge": "RxPY has none", "deadline": "RxPY knows no budget of an item",
    "settled": "RxPY takes back nothing that was sent",
}


def names_of_kx(node: ast.AST) -> set[str]:
    """Every ``kx.name`` within."""
    return {found.attr for found in ast.walk(node) if isinstance(found, ast.Attribute)
            and isinstance(found.value, ast.Name) and found.value.id == "kx"}


def name_of(node: ast.AST) -> str:
    """What a statement gives a value to."""
    target = getattr(node, "target", None) or next(iter(getattr(node, "targets", ())), None)
    return target.id if isinstance(target, ast.Name) else ""


def table(file: str, *names: str) -> set[str]:
    """The names of kayrx in tables of a test file."""
    found: set[str] = set()
    for node in ast.parse((HERE / file).read_text(encoding="utf-8")).body:
        if name_of(node) in names:
            found |= names_of_kx(node)
    return found


def keys(file: str, name: str) -> set[str]:
    """The keys of a table that is a dict."""
    tree = ast.parse((HERE / file).read_text(encoding="utf-8"))
    tables = [node.value for node in tree.body if name_of(node) == name]  # type: ignore[attr-defined]
    return {key.value for table in tables for key in table.keys}


def claimed() -> Iterator[str]:
    """The names in an ``assert_type`` of tests/typing/api.py, and the types of what one is about."""
    for node in ast.walk(ast.parse((HERE / "typing" / "api.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "assert_type":
            yield from names_of_kx(node)
        elif isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
            yield from names_of_kx(node.annotation)


def listed(difference: str) -> set[str]:
    """The names that a row of the differences is about."""
    return {word.strip(",") for word in difference.replace("(", " ").split()}


ASKED = sorted({*FEATURES, *GUARDS})
PICTURES = keys("test_marbles.py", "MARBLES")
LAWS = table("test_laws.py", "SYNC", "ASYNC", "SIDES")
COMPARED = table("test_parity.py", "PAIRS", "JOINS", "SOURCES", "FANS") | keys("test_parity.py", "OF_THEIR_OWN")
DIFFERENT = {name for row in DIFFERENCES for name in listed(row.name)}


def test_every_public_name_is_accounted_for() -> None:
    """It is a name of the vocabulary, a guard or a value; and what is listed exists."""
    assert {*kx.__all__} - {*FEATURES, *GUARDS, *VALUES} == set()
    assert {*FEATURES, *GUARDS, *VALUES} - {*kx.__all__} == set()


def test_every_name_has_a_picture() -> None:
    """In the table of tests/test_marbles.py."""
    assert [name for name in ASKED if name not in PICTURES] == []
    assert PICTURES - {*kx.__all__} == set()


def test_every_name_is_held_to_the_laws() -> None:
    """In the tables of tests/test_laws.py, or somewhere else for a reason."""
    assert [name for name in ASKED if name not in LAWS and name not in LAWS_ELSEWHERE] == []
    assert {*LAWS_ELSEWHERE} & LAWS == set()


def test_every_name_of_rxpy_is_compared_with_it() -> None:
    """By tests/test_parity.py, or it is a listed difference, or RxPY has no such thing; never two of these reasons."""
    known = COMPARED | DIFFERENT | {*NO_NAMESAKE}
    assert [name for name in ASKED if name not in known] == []
    assert {*NO_NAMESAKE} & (COMPARED | DIFFERENT) == set()


def test_every_public_name_has_a_claim_about_its_type() -> None:
    """An ``assert_type`` in tests/typing/api.py, for types and errors too."""
    assert [name for name in kx.__all__ if name not in {*claimed()}] == []


def test_the_tables_are_found() -> None:
    """The lists above are read from the right places: a planted name is missed, a known one found."""
    assert {"map", "merge", "buffer"} <= PICTURES & LAWS & COMPARED and {"retry", "delay"} <= DIFFERENT
    assert "planted" not in PICTURES | LAWS | COMPARED and len(ASKED) > 75
    assert names_of_kx(ast.parse("kx.source([1]) >> kx.map(f, on=kx.threads(1))")) == {"source", "map", "threads"}

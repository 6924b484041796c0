"""Guards that give something else: fallback (a value, a function, a graph), catch, on_error_return."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import kayrx as kx
from kayrx.testing import run_virtual


async def awaited(graph: Any) -> Any:
    return await graph


def inverse(x: int) -> float:
    return 6 / x


async def inverse_later(x: int) -> float:
    await anyio.sleep(0)
    return 6 / x


def gone(x: Any) -> Any:
    raise OSError(x)


def refuse(x: Any) -> Any:
    raise LookupError(x)


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize(("guard", "given"), [
    (kx.fallback(-1), -1), (kx.fallback(None), None), (kx.fallback("none"), "none"), (kx.fallback([1, 2]), [1, 2]),
    (kx.fallback(kx.it - 7), -7), (kx.fallback(refuse, -2), -2), (kx.fallback(refuse, lambda x: x - 3), -3),
    (kx.fallback(kx.map(lambda x: x - 4)), -4), (kx.fallback(kx.map(refuse), kx.map(kx.it + 9) >> kx.map(str)), "9"),
    (kx.fallback(kx.map(inverse) >> kx.fallback(5)), 5), (kx.fallback(kx.map(inverse_later) >> kx.fallback(6)), 6),
    (kx.fallback(kx.flat_map(lambda x: [x + 8])), 8), (kx.fallback(kx.filter(kx.it > 0)), "nothing"),
    (kx.on_error_return(inverse), inverse), (kx.on_error_return(0, on=ZeroDivisionError), 0),
    (kx.catch(lambda error, x: (type(error), x)), (ZeroDivisionError, 0)),
    (kx.catch(lambda error, x: -9, on=lambda error: "zero" in str(error)), -9),
    (kx.fallback(refuse) >> kx.catch(lambda error, x: type(error)), LookupError)], ids=range(18))
def test_something_else_is_given_for_the_item_that_fails(guard: Any, given: Any, waits: bool, backend: str) -> None:
    """The first alternative that does not fail; the items around it are as they would be."""
    graph = kx.source([1, 0, 2]) >> kx.map(inverse_later if waits else inverse) >> guard
    backend = "asyncio" if backend == "sync" and graph.compile().loop else backend

    assert graph.collect(backend=backend) == [6, *([] if given == "nothing" else [given]), 3]


@pytest.mark.parametrize("kind", ["flat_map", "concat_map", "unit", "waits", "source"])
def test_something_else_of_a_unit_of_many_outputs(kind: str, backend: str) -> None:
    """A function gives an iterable, a graph its outputs, a value is one output; what was sent stays."""
    async def later(x: int) -> Any:
        for n in range(x, 3):
            yield inverse(n)

    units = {"flat_map": kx.flat_map(lambda x: [inverse(x)]), "concat_map": kx.concat_map(lambda x: [inverse(x)]),
             "unit": kx.unit(kx.flat_map(lambda x: [x]) >> kx.map(inverse)), "waits": kx.concat_map(later),
             "source": None}
    unit = kx.source([0]) >> units[kind] if units[kind] is not None else kx.source(lambda: refuse(0))
    backend = "asyncio" if kind == "waits" and backend == "sync" else backend

    assert (unit >> kx.fallback(7)).collect(backend=backend) == [7]
    assert (unit >> kx.fallback(lambda x: [x, 8])).collect(backend=backend) == [None if kind == "source" else 0, 8]
    assert (unit >> kx.catch(lambda error, x: [type(error).__name__])).collect(backend=backend) == [
        "LookupError" if kind == "source" else "ZeroDivisionError"]
    assert (unit >> kx.on_error_return("x")).collect(backend=backend) == ["x"]
    if kind != "source":
        graph = kx.fallback(kx.flat_map(lambda x: [x, x + 1]) >> kx.map(kx.it * 2))
        assert (unit >> graph).collect(backend=backend) == [0, 2]


def test_catch_goes_on_after_what_was_sent(backend: str) -> None:
    """Where a stream fails in its middle, the handler gives its end; after a source as well."""
    def some(x: Any = None) -> Any:
        yield 1
        raise OSError

    handler = kx.catch(lambda error, x: [2, 3])
    assert (kx.source([0]) >> kx.concat_map(some) >> handler).collect(backend=backend) == [1, 2, 3]
    assert (kx.source(some) >> handler).collect(backend=backend) == [1, 2, 3]


def test_a_handler_may_raise_and_may_wait(loop: str) -> None:
    """What it raises is the failure; an async one is awaited, and needs a loop."""
    async def ask(error: Exception, x: int) -> int:
        await anyio.sleep(1)
        if x == 0:
            raise error
        return x

    graph = kx.source([0]) >> kx.map(inverse) >> kx.catch(ask)
    assert graph.compile().loop
    with pytest.raises(ZeroDivisionError):
        graph.run(backend=loop)
    late = kx.source(["a"]) >> kx.map(inverse) >> kx.catch(ask) >> kx.to_list()
    assert run_virtual(lambda: awaited(late), loop) == ["a"]


@pytest.mark.parametrize("guard", [kx.fallback(refuse), kx.fallback(gone, refuse),
                                   kx.catch(lambda error, x: refuse(x))], ids=["fallback", "second", "catch"])
@pytest.mark.parametrize("unit", [kx.map(inverse), kx.map(inverse_later) >> kx.timeout(9), kx.concat_map(inverse),
                                  None], ids=["map", "in time", "many", "source"])
def test_what_fails_in_its_place_tells_of_what_had_failed(unit: Any, guard: Any) -> None:
    """The first error is the context of the last, as in an ``except``; else nobody would learn what was first."""
    graph = kx.source(lambda: inverse(0)) if unit is None else kx.source([0]) >> unit
    with pytest.raises(LookupError) as caught:
        (graph >> guard).collect()

    error: BaseException | None = caught.value
    found = []
    while error is not None:
        found.append(type(error).__name__)
        error = error.__context__
    assert found[0] == "LookupError" and found[-1] == "ZeroDivisionError" and len(found) == len(set(found))


def test_a_fallback_graph_with_two_outputs_for_one_is_an_error_of_its_item() -> None:
    """RunError with the remedy; the next alternative may still stand."""
    many = kx.flat_map(lambda x: [x, x])
    graph = kx.source([0]) >> kx.map(inverse)

    with pytest.raises(kx.RunError, match=r"gave 2 outputs for one item.*flat_map or a unit"):
        (graph >> kx.fallback(many)).collect()
    assert (graph >> kx.fallback(many, 5)).collect() == [5]


@pytest.mark.parametrize(("write", "error", "says"), [
    (lambda: kx.fallback(), kx.GraphError, "give at least one"),
    (lambda: kx.fallback(kx.source([1])), kx.GraphError, "open at both ends"),
    (lambda: kx.fallback(kx.each(print)), kx.GraphError, "open at both ends"),
    (lambda: kx.fallback(1, resume="later"), kx.GraphError, "before_first, restart"),
    (lambda: kx.catch(3), kx.GraphError, "function"), (lambda: kx.on_error_return(1, on="x"), kx.GraphError, "on="),
    (lambda: (kx.source([1]) >> kx.map(str) >> kx.fallback(kx.buffer(2))).compile(), kx.CompileError,
     r"'fallback'.*cannot fall back to 'str.buffer'.*not item by item"),
    (lambda: (kx.source([1]) >> kx.map(str) >> kx.fallback(kx.scan(max))).compile(), kx.CompileError, "state"),
    (lambda: (kx.source([1]) >> kx.fallback(kx.map(str))).compile(), kx.CompileError, r"fallback\(lambda _: items\)"),
    (lambda: (kx.source([1]) >> kx.take(1) >> kx.catch(str)).compile(), kx.CompileError, "cannot guard 'take'"),
], ids=range(10))
def test_what_cannot_stand_in_is_refused(write: Any, error: type[Exception], says: str) -> None:
    """When written or when compiled, with node and remedy."""
    with pytest.raises(error, match=says):
        write()


def test_a_graph_among_the_alternatives_may_have_names_guards_and_resources(loop: str) -> None:
    """Its failures name its node; what it needs opened is opened with the run; a map on a thread is refused."""
    class Log:
        def __init__(self) -> None:
            self.letters: list[Any] = []

        def append(self, letter: Any) -> None:
            self.letters.append(letter)

        def close(self) -> None:
            kept.extend(self.letters)

    kept: list[Any] = []
    other = kx.map(inverse).named("second") >> kx.dead_letter(kx.resource(Log))
    graph = kx.source([0, 2]) >> kx.map(inverse_later) >> kx.fallback(other) >> kx.to_list()

    async def main() -> Any:
        return await graph

    assert run_virtual(main, loop) == [3.0]
    assert [(x.item, x.node) for x in kept] == [(0, "inverse_later.second")]
    with pytest.raises(ZeroDivisionError) as caught:
        (kx.source([0]) >> kx.map(inverse) >> kx.fallback(kx.map(inverse).named("second"))).collect()
    assert "in node 'inverse.second'" in caught.value.__notes__[0]
    with pytest.raises(kx.CompileError, match="calls run in place"):
        (kx.source([0]) >> kx.map(inverse) >> kx.fallback(kx.map(str, on=kx.threads(1)))).compile()

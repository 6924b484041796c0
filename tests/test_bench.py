"""The benchmark harness judges and shows figures rightly; the figures here are made up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.bench.goals import SLACK, Goal, Row, faster, missed, rendered, rows_of, times
from tests.bench.measure import Contender, Race, Settings, WrongAnswer

OLD, NEW = (3, 12), (3, 13)


def test_slack() -> None:
    """A goal is met up to its bound, within slack up to 15 % beyond it, and missed beyond that."""
    least, most = faster("kayrx", "peer", 5), times("kayrx", "peer", 2)
    edge = 1 + SLACK
    assert [most.verdict(2.0), most.verdict(2 * edge), most.verdict(2 * edge + 0.01)] == [
        "met", "within slack", "missed"]
    assert [least.verdict(5.0), least.verdict(5 / edge), least.verdict(5 / edge - 0.01)] == [
        "met", "within slack", "missed"]


def test_bound_of_the_version() -> None:
    """The later bound holds from Python 3.13 on; a goal without one has the same bound everywhere."""
    changed, same = faster("kayrx", "reactivex", 5, later=3.5), times("kayrx", "hand loop", 1.05)
    assert (changed.limit(OLD), changed.limit(NEW)) == (5, 3.5)
    assert (same.limit(OLD), same.limit(NEW)) == (1.05, 1.05)
    assert (changed.verdict(4.0, OLD), changed.verdict(4.0, NEW)) == ("missed", "met")


def test_ratio_is_taken_pair_by_pair() -> None:
    """A machine that slows down for one whole round changes no ratio."""
    calm = {"kayrx": [10.0, 10.0, 10.0], "peer": [50.0, 50.0, 50.0]}
    shaken = {"kayrx": [10.0, 70.0, 80.0], "peer": [50.0, 350.0, 400.0]}
    goal = faster("kayrx", "peer", 5)
    assert goal.figure(calm) == pytest.approx(goal.figure(shaken)) == pytest.approx(5.0)


def test_one_bad_round_is_outvoted() -> None:
    """A disturbance of one contender in a minority of rounds changes no verdict."""
    costs = {"kayrx": [10.0, 90.0, 10.0], "peer": [10.0, 10.0, 10.0]}
    assert times("kayrx", "peer", 1.05).figure(costs) == 1.0


def test_differences_and_amounts() -> None:
    """``above`` bounds a difference, ``amount`` a figure by itself."""
    costs = {"bare": [10.0, 11.0, 30.0], "kayrx": [22.0, 23.0, 42.0]}
    assert Goal("kayrx", "bare", 15, "above").figure(costs) == 12.0
    assert Goal("kayrx", "", 20, "amount").figure(costs) == 23.0
    assert Goal("kayrx", "", 20, "amount").verdict(23.0) == "within slack"


def test_every_goal_has_its_row() -> None:
    """A contender has a row for each of its goals, its cost in the first alone; a peer has its ratio."""
    costs = {"hand loop": [100.0], "kayrx": [104.0], "peer": [500.0]}
    goals = [times("kayrx", "hand loop", 1.05), faster("kayrx", "peer", 5)]
    rows = rows_of("W1", "ns", costs, goals, "hand loop")
    assert [(row.contender, row.cost, row.ratio, row.verdict) for row in rows] == [
        ("hand loop", 100.0, "", ""), ("kayrx", 104.0, "hand loop × 1.04", "met"),
        ("kayrx", None, "peer ÷ 4.81", "within slack"), ("peer", 500.0, "hand loop × 5.00", "")]


def test_table() -> None:
    """The table names a workload and a contender once, and shows every figure, goal and verdict."""
    text = rendered([
        Row("W1", "kayrx", 1234.5, "ns", "hand loop × 1.04", "× ≤ 1.05", "met"),
        Row("W1", "kayrx", None, "ns", "peer ÷ 4.81", "÷ ≥ 5", "within slack"),
        Row("W2", "kayrx", 70.0, "ns")])
    assert text.count("W1") == text.count("W2") == 1 and text.count("kayrx") == 2
    for part in ("1,234", "70.0", "hand loop × 1.04", "× ≤ 1.05", "met", "÷ 4.81", "÷ ≥ 5", "within slack"):
        assert part in text


def test_only_a_real_miss_fails() -> None:
    """Slack is forgiven; a miss and an error are not."""
    def rows(*verdicts: str) -> list[Row]:
        return [Row("W1", "kayrx", 1.0, "ns", verdict=verdict) for verdict in verdicts]  # type: ignore[arg-type]

    assert not missed(rows("met", "within slack", ""))
    assert missed(rows("met", "missed")) and missed(rows("error"))


def race(*contenders: Contender, goal: Goal, readings: list[float]) -> Race:
    """A race of made-up contenders whose meter gives the next reading."""
    def meter(work: object) -> float:
        return readings.pop(0)

    return Race("W0", sum_of, contenders, [goal], size=10, quick=2, base="hand loop", meter=meter)


def sum_of(items: int) -> int:
    return sum(range(items))


async def sum_later(items: int) -> int:
    return sum(range(items))


async def wrong_later(items: int) -> int:
    return -1


@pytest.mark.parametrize("wrong", [lambda items: -1, wrong_later])
def test_wrong_answer_is_an_error(wrong: Callable[[int], Any]) -> None:
    """A contender whose answer differs from the hand loop's is never measured, async or not."""
    readings: list[float] = []
    with pytest.raises(WrongAnswer, match="kayrx gave -1, and 45 is right"):
        race(Contender("hand loop", sum_of), Contender("kayrx", wrong),
             goal=times("kayrx", "hand loop", 1), readings=readings).rows(Settings())


def test_rounds_go_in_turn_and_by_item() -> None:
    """Rounds are A B A B, and a reading is divided by the items of its contender."""
    pair = Contender("hand loop", sum_of), Contender("kayrx", sum_later, 0.5)
    readings = [100.0, 50.0, 200.0, 100.0]
    rows = race(*pair, goal=times("kayrx", "hand loop", 1), readings=readings).rows(Settings(2))
    assert [(row.contender, row.cost) for row in rows] == [("hand loop", 15.0), ("kayrx", 15.0)]
    assert rows[1].verdict == "met"


def test_a_miss_is_measured_again() -> None:
    """A missed goal gets as many rounds again, and all rounds count."""
    pair = Contender("hand loop", sum_of), Contender("kayrx", sum_later)
    readings = [10.0, 30.0, 10.0, 10.0]
    rows = race(*pair, goal=times("kayrx", "hand loop", 2), readings=readings).rows(Settings(1))
    assert not readings and rows[1].ratio == "hand loop × 2.00"

"""``python -m tests.bench``: measure, print the table, and exit with 1 if a goal is missed."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path

from tests.bench import growth, starting, straight, waiting
from tests.bench.goals import SLACK, Row, missed, rendered
from tests.bench.measure import Race, Settings

GROUPS = (straight.races, waiting.call_races, waiting.gate_races, starting.races, straight.later_races,
          growth.races)


def order(race: Race) -> tuple[int, str]:
    """W2 before W11, W4a before W4b."""
    word = race.name.split()[0][1:]
    number = word.rstrip("abc")
    return int(number), word[len(number):]


def chosen(only: str) -> list[Race]:
    """The races whose workload is named in ``only`` (W4 names all of W4a, W4b and W4c); all for none."""
    races = sorted((race for group in GROUPS for race in group()), key=order)
    names = [name for name in only.split(",") if name]
    heads = {name: race.name.split()[0] for race in races for name in (race.name.split()[0],)}
    for name in names:
        if not any(matches(head, name) for head in heads):
            raise SystemExit(f"no workload {name!r}; there are {', '.join(heads)}")
    return [race for race in races if not names or any(matches(race.name.split()[0], name) for name in names)]


def matches(head: str, name: str) -> bool:
    return head == name or head.rstrip("abc") == name


def measured(race: Race, settings: Settings) -> list[Row]:
    """The rows of a race; one row that says error if it cannot be run."""
    begin = time.perf_counter()
    try:
        return race.rows(settings)
    except Exception as error:  # one broken workload must not hide the figures of the others
        return [Row(race.name, f"{type(error).__name__}: {error}", None, race.unit, verdict="error")]
    finally:
        print(f"{race.name}: {time.perf_counter() - begin:.1f} s", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller sizes, fewer rounds, the same goals")
    parser.add_argument("--only", default="", metavar="W1,W4a", help="the workloads to measure")
    parser.add_argument("--json", metavar="FILE", help="write the rows to a file as well")
    options = parser.parse_args()
    settings = Settings(rounds=3 if options.quick else 7, quick=options.quick)
    races = [race for race in chosen(options.only) if race.quick or not options.quick]
    rows = [row for race in races for row in measured(race, settings)]
    print(rendered(rows))
    goals = [row for row in rows if row.verdict]
    counts = {word: sum(row.verdict == word for row in goals) for word in ("met", "within slack", "missed", "error")}
    print(f"\nPython {platform.python_version()}, {settings.rounds} rounds, slack {SLACK:.0%}: "
          + ", ".join(f"{number} {word}" for word, number in counts.items() if number))
    if options.json:
        Path(options.json).write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")
    return 1 if missed(rows) else 0


if __name__ == "__main__":
    sys.exit(main())

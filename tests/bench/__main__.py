"""``python -m tests.bench``: measure, print the table, and exit with 1 if a goal is missed."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from tests.bench import (
    growth,
    grpcs,
    guarding,
    keeping,
    pacing,
    pushing,
    serving,
    starting,
    straight,
    waiting,
    websockets,
)
from tests.bench.goals import SLACK, Row, missed, rendered
from tests.bench.measure import Race, Settings
from tests.bench.pacing import Pacing
from tests.bench.serving import Delivery

GROUPS: tuple[Callable[[], Sequence[Race | Delivery | Pacing]], ...] = (
    straight.races, waiting.races, starting.races, pushing.races, growth.races, guarding.races,
    keeping.races, serving.races, pacing.races, websockets.races, grpcs.races)


def order(race: Race | Delivery | Pacing) -> tuple[int, str]:
    """W2 before W11, W4a before W4b, D1 after them all."""
    word = workload(race)[1:]
    number = word.rstrip("abc")
    return int(number) + 100 * race.name.startswith("D"), word[len(number):]


def chosen(only: str) -> list[Race | Delivery | Pacing]:
    """The races whose workload is named in ``only`` (W4 names all of W4a, W4b and W4c); all for none."""
    races = sorted((race for group in GROUPS for race in group()), key=order)
    names = [name for name in only.split(",") if name]
    for name in names:
        if not any(belongs(race, name) for race in races):
            raise SystemExit(f"no workload {name!r}; there are "
                             + ", ".join(dict.fromkeys(workload(race) for race in races)))
    return [race for race in races if not names or any(belongs(race, name) for name in names)]


def workload(race: Race | Delivery | Pacing) -> str:
    return race.name.split()[0]


def belongs(race: Race | Delivery | Pacing, name: str) -> bool:
    return workload(race) == name or workload(race).rstrip("abc") == name


def measured(race: Race | Delivery | Pacing, settings: Settings) -> list[Row]:
    """The rows of a race; one row that says error if it cannot be run."""
    begin = time.perf_counter()
    try:
        return race.rows(settings)
    except Exception as error:  # one broken workload must not hide the figures of the others
        print(f"{race.name}: {type(error).__name__}: {error}", file=sys.stderr)
        return [Row(race.name, type(error).__name__, None, race.unit, verdict="error")]
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
    rows: list[Row] = []
    took: dict[str, float] = {}    # seconds, of the workloads W and of delivery D
    for race in races:
        begin = time.perf_counter()
        rows += measured(race, settings)
        took[race.name[0]] = took.get(race.name[0], 0.0) + time.perf_counter() - begin
    print(rendered(rows))
    counts = Counter(row.verdict for row in rows if row.verdict)
    print(f"\nPython {platform.python_version()}, {settings.rounds} rounds, slack {SLACK:.0%}: "
          + ", ".join(f"{number} {word}" for word, number in counts.most_common()) + "; "
          + ", ".join(f"{letter} took {seconds:.0f} s" for letter, seconds in took.items()))
    if options.json:
        Path(options.json).write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")
    return 1 if missed(rows) else 0


if __name__ == "__main__":
    sys.exit(main())

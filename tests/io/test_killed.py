"""kill -9 at random moments, counted from outside: nothing lost, and nothing twice that was to be once.

The victim (victim.py) is a process that forks: each life is killed when it has written so many lines, plus a few
microseconds, so the moments do not depend on the speed of the machine.  KAYRX_NIGHTLY=1 tries many more.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import kayrx as kx

KILLS = 1000 if os.environ.get("KAYRX_NIGHTLY") else 50
ITEMS, POISON = 10_000, 20


class Victim:
    """Lives of one program on one directory; ``draw`` says when each ends."""

    def __init__(self, home: Path, seed: int) -> None:
        self.home, self.output, self.draw = home, home / "output", random.Random(seed)
        self.killed = 0
        self.process = subprocess.Popen([sys.executable, str(Path(__file__).parent / "victim.py"), str(home)],
                                        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        assert self.said() == "ready"

    def said(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def lives(self, what: str) -> int:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{what}\n")
        return int(self.said())

    def dies_after(self, what: str, most: int) -> None:
        """Begin, and kill when up to ``most`` bytes more are written, or the end has come."""
        wanted = self.size() + self.draw.randrange(most)
        child = self.lives(what)
        while self.size() < wanted and os.path.exists(f"/proc/{child}"):
            pass
        for _ in range(self.draw.randrange(2000)):
            pass  # somewhere within the next item, letter or checkpoint
        try:
            os.kill(child, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.killed += self.said() == str(-signal.SIGKILL)

    def finishes(self, what: str) -> None:
        self.lives(what)
        assert self.said() == "0"

    def size(self) -> int:
        return os.stat(self.output).st_size if self.output.exists() else 0

    def lines(self) -> Counter[str]:
        return Counter(self.output.read_text().splitlines())


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Victim]:
    one = Victim(tmp_path, seed=11)
    yield one
    one.process.stdin.close()  # type: ignore[union-attr]
    one.process.wait(60)
    one.process.stdout.close()  # type: ignore[union-attr]


def test_every_item_is_in_the_output_or_in_a_letter(victim: Victim) -> None:
    """Fifty kills, in the stream and in the replay of its letters; then each of 10,000 items is in one of the two."""
    store = kx.sqlite_letters(victim.home / "letters")
    for _ in range(KILLS * 4 // 5):
        victim.dies_after("stream", 1000)
    victim.finishes("stream")
    poison = {x for x in range(ITEMS) if x % POISON == 7}
    assert {int(x) for x in victim.lines()} == {*range(ITEMS)} - poison
    assert sorted(letter.item for letter in store.items()) == sorted(poison)
    assert victim.lines().total() - len(victim.lines()) <= 200 * KILLS  # repeated is only what no checkpoint had seen

    for _ in range(KILLS // 5):
        victim.dies_after("replay", 100)
    victim.finishes("replay")
    output, letters = {int(x) for x in victim.lines()}, [letter.item for letter in store.items()]
    assert sorted([*output, *letters]) == [*range(ITEMS)]
    assert len(letters) == len(poison) // 2 and victim.killed > KILLS * 3 // 5


def test_state_counts_each_item_once(victim: Victim, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Twenty kills: the lines are those of an uninterrupted run, for what is repeated was held the same again."""
    for _ in range(KILLS * 2 // 5):
        victim.dies_after("state", 5000)
    victim.finishes("state")
    whole = Victim(tmp_path_factory.mktemp("whole"), seed=0)
    whole.finishes("state")
    whole.process.communicate(timeout=60)

    assert {*victim.lines()} == {*whole.lines()} and max(whole.lines().values()) == 1
    assert victim.killed > KILLS // 5

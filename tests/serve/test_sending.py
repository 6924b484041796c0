"""Send timeouts: what goes out at once pays no timer, and what waits is ended in time."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from kayrx.runtime.backend import current
from kayrx.runtime.world import THE_WORLD
from kayrx.serve.sending import Sending, TooSlow


def test_a_send_is_timed_from_its_first_wait(virtual: Any) -> None:
    """A thousand sends that do not wait leave no timer; one that waits less than its time is done, and the next one,
    which waits for ever, is ended after its time and not before.
    """
    async def main() -> tuple[int, float]:
        sending, done = Sending(current(THE_WORLD), 5.0), 0

        async def send(seconds: float) -> None:
            nonlocal done
            if seconds:
                await anyio.sleep(seconds)
            done += 1

        for _ in range(1000):
            await sending.sent(send(0))
        assert not sending.deadlines.heap and sending.deadlines._timer is None
        await sending.sent(send(4.9))
        began = anyio.current_time()
        with pytest.raises(TooSlow, match="nothing for 5 seconds"):
            await sending.sent(send(float("inf")))
        return done, anyio.current_time() - began

    assert virtual(main) == (1001, 5.0)

"""The hub: one run, many clients; who stays, leaves, stops, detaches and resumes; who may see what."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import anyio
import pytest

import kayrx as kx
from kayrx.serve import Event, Frames, Hub, Keep, Outbox, Refused, Session, Subscription, cancel_after, told
from kayrx.testing import left_behind, virtual_world

Virtual = Callable[[Any], Any]
END = ("end", {"reason": "complete"})


async def read(client: Subscription) -> list[Event]:
    async with client as events:
        return [event async for event in events]


def brief(events: list[Event]) -> list[Any]:
    return [event.data if event.type == "data" else (event.type, event.data) for event in events]


def test_all_clients_see_one_run_complete_and_in_order(virtual: Virtual, tokens: Any) -> None:
    """Three clients, one of them late, one of them from now on: one source, each event once, then the end."""
    source = tokens("abcd")

    async def main() -> list[Any]:
        out: dict[str, Any] = {}
        async with Hub(kx.source(source)) as hub:
            async def client(name: str, at: float, after: int | None) -> None:
                await anyio.sleep(at)
                out[name] = brief(await read(hub.subscribe(after)))
            async with anyio.create_task_group() as group:
                group.start_soon(client, "first", 0, 0)
                group.start_soon(client, "late", 2.5, 0)
                group.start_soon(client, "from now", 2.5, None)
        return [out[name] for name in ("first", "late", "from now")]

    with left_behind() as left:
        assert virtual(main) == [["a", "b", "c", "d", END], ["a", "b", "c", "d", END], ["c", "d", END]]
    assert (source.opened, source.closed, bool(left)) == (1, 1, False)


@pytest.mark.parametrize("cut", range(1, 9))
def test_a_client_that_resumes_has_seen_exactly_the_stream(virtual: Virtual, tokens: Any, cut: int) -> None:
    """Wherever it left, and whether it comes back by number or by cursor, while the run goes on or after it."""
    async def main() -> list[list[Any]]:
        out = []
        for away, by in ((0.5, "seq"), (3, "cursor"), (30, "cursor")):
            async with Hub(kx.source(tokens("abcdefgh")), on_disconnect="continue") as hub:
                first: list[Event] = []
                async with hub.subscribe() as events:
                    while len(first) < cut:
                        first += await events.batch(1)
                    cursor = events.cursor(first[-1])
                await anyio.sleep(away)
                out.append(brief(first + await read(hub.subscribe(cursor if by == "cursor" else first[-1].seq))))
        return out

    assert virtual(main) == [[*"abcdefgh", END]] * 3


def test_a_cursor_that_is_gone_or_foreign_gets_one_resync(virtual: Virtual, tokens: Any) -> None:
    """Too old, from the future, of another run, or no cursor at all: told once, then what the log holds."""
    async def main() -> list[Any]:
        async with Hub(kx.source("abcdef"), keep=Keep(count=3), outbox=Outbox(items=1), on_disconnect="continue",
                       world=virtual_world()) as hub:
            await read(hub.subscribe(None, Outbox("latest", items=1)))
            return [brief(await read(hub.subscribe(after))) for after in (1, *foreign[1:3], "5", *foreign[3:])]

    foreign = (1, 99, "other-5", "x", "", "٣", "9" * 99)
    told_of = [[("resync", {"after": after if isinstance(after, int) else after[:64], "next": 4}), *"def", END]
               for after in foreign]
    assert virtual(main) == [*told_of[:3], ["f", END], *told_of[3:]]


def test_the_end_of_a_run_is_told_however_old_it_is(virtual: Virtual, tokens: Any) -> None:
    """Of a log whose events are too old to be replayed the terminal is left, behind one resync."""
    async def main() -> list[Any]:
        async with Hub(kx.source(tokens("abc")), keep=Keep(age=5), on_disconnect="continue") as hub:
            hub.shared().begin()
            await anyio.sleep(100)
            return [brief(await read(hub.subscribe(after))) for after in (0, 2, None)]

    end = ("end", {"reason": "complete"})
    assert virtual(main) == [[("resync", {"after": after, "next": 4}), end] for after in (0, 2)] + [[end]]


@pytest.mark.parametrize(("policy", "away", "reason"), [
    ("cancel", 0.5, "cancelled"), (cancel_after(2), 1.5, "complete"), (cancel_after(2), 2.5, "cancelled"),
    ("continue", 2.5, "complete")])
def test_a_run_outlives_its_clients_as_asked(virtual: Virtual, tokens: Any, policy: Any, away: float, reason: str
                                             ) -> None:
    """The last client's leaving cancels at once, later, or never; who is back in time finds the run going on."""
    source = tokens("abcdef")

    async def main() -> tuple[Any, int]:
        async with Hub(lambda: kx.source(source), on_disconnect=policy) as hub:
            session = hub.open()
            for _ in range(2):
                async with session.subscribe() as events:
                    await anext(events)
                await anyio.sleep(away)
                read_before = source.given
            return brief(await read(session.subscribe()))[-1][1]["reason"], read_before

    ended, read_before = virtual(main)
    assert ended == reason and source.closed == 1
    assert read_before < 6 or policy == "continue" or away > 1


def test_stop_keeps_what_came_and_says_so(virtual: Virtual, tokens: Any) -> None:
    """The partial text stays in the log, every client gets the end with "stopped", the source is let go."""
    source = tokens("abcdef")

    async def main() -> Any:
        async with Hub(kx.source(source) >> kx.map(str.upper)) as hub:
            session = hub.shared()
            async with session.subscribe() as events:
                got = [await anext(events), await anext(events)]
                async with anyio.create_task_group() as group:
                    group.start_soon(session.stop)
                    got += [event async for event in events]
                await session.stop()
                return brief(got), brief(await read(session.subscribe())), session.state, source.closed

    end = ("end", {"reason": "stopped"})
    assert virtual(main) == (["A", "B", end], ["A", "B", end], "stopped", 1)


def test_stop_detach_and_resume_work_together(virtual: Virtual, tokens: Any) -> None:
    """Detached, the run goes on without a client; one comes back, sees all, and stops it; `resume` undoes detach."""
    async def main() -> Any:
        async with Hub(kx.source(tokens("abcdefgh")), on_disconnect="cancel") as hub:
            session = hub.shared()
            async with session.subscribe() as events:
                first = [await anext(events)]
                session.detach()
            await anyio.sleep(2)
            going_on = session.state
            async with session.subscribe(after=1) as events:
                first += [await anext(events), await anext(events)]
                session.resume()
                await session.stop()
                return going_on, brief(first + [event async for event in events])

    assert virtual(main) == ("running", [*"abc", ("end", {"reason": "stopped"})])


def test_detach_also_holds_a_run_whose_time_is_running_out_and_resume_lets_it_go(
        virtual: Virtual, tokens: Any) -> None:
    """Detached while `cancel_after` waits: it goes on; resumed: the next client to leave is the last again."""
    async def main() -> list[str]:
        async with Hub(kx.source(tokens()), on_disconnect=cancel_after(2)) as hub:
            session = hub.shared()
            async with session.subscribe() as events:
                await anext(events)
            await anyio.sleep(1)
            session.detach()
            await anyio.sleep(3)
            states = [session.state]
            session.resume()
            async with session.subscribe(None) as events:
                await anext(events)
            await anyio.sleep(3)
            return [*states, session.state]

    assert virtual(main) == ["running", "cancelled"]


@pytest.mark.parametrize(("policy", "after"), [("cancel", [5, 61]), (cancel_after(2), [1, 3]), ("continue", [1, 99])])
def test_a_run_that_is_taken_back_waits_for_who_did_it_and_not_for_ever(
        virtual: Virtual, tokens: Any, policy: Any, after: list[float]) -> None:
    """Detached, resumed, and nobody has come back: a run without a reader would go on for good."""
    async def main() -> list[str]:
        async with Hub(kx.source(tokens()), on_disconnect=policy) as hub:
            session = hub.shared()
            async with session.subscribe() as events:
                await anext(events)
                session.detach()
            await anyio.sleep(100)
            session.resume()
            states = []
            for seconds in after:
                await anyio.sleep(seconds)
                states.append(session.state)
            return states

    assert virtual(main) == ["running", "running" if policy == "continue" else "cancelled"]


def test_who_comes_at_the_moment_in_which_the_last_one_leaves_stays(virtual: Virtual, tokens: Any) -> None:
    """The time that began with an earlier leaving does not end in the time of a later one."""
    async def main() -> str:
        async with Hub(kx.source(tokens()), on_disconnect=cancel_after(2)) as hub:
            session = hub.shared()
            async with session.subscribe():
                pass
            async with session.subscribe():
                await anyio.sleep(1.5)
            await anyio.sleep(1)
            return session.state

    assert virtual(main) == "running"


@pytest.mark.parametrize("describe", [lambda error: 1 / 0, lambda error: object(), lambda error: float("nan")])
def test_a_failure_that_cannot_be_described_is_told_all_the_same(virtual: Virtual, describe: Any) -> None:
    """A hook that raises, or gives what cannot be sent, hangs nobody: they are told the type."""
    async def main() -> Any:
        failing = kx.source([1]) >> kx.map(lambda x: x / 0)
        async with Hub(failing, describe=describe) as hub, hub.subscribe() as events:
            return [(event.type, event.data["type"]) async for event in events], hub.shared().state

    assert virtual(main) == ([("error", "ZeroDivisionError")], "failed")


def test_a_client_that_drips_cannot_set_the_pace(virtual: Virtual) -> None:
    """It reads a little just before its patience is over, again and again: it costs the others 0.25 s and 1 %, once."""
    async def main() -> tuple[bool, float]:
        async with Hub(kx.source(range(20_000))) as hub, anyio.create_task_group() as group:
            async def drip() -> None:
                async with hub.subscribe() as events:
                    while await events.batch(16):
                        await anyio.sleep(0.05)
            group.start_soon(drip)
            whole = len(await read(hub.subscribe())) == 20_001
            seconds = anyio.current_time()
        return whole, seconds

    whole, seconds = virtual(main)
    assert whole and seconds < 0.4


def test_a_failure_ends_every_client_with_one_error(virtual: Virtual) -> None:
    """Of the message nothing is told unless `describe` says so; the hub and its other sessions go on."""
    def make(describe: Any) -> Any:
        async def main() -> Any:
            async with Hub(kx.source([1, 0]) >> kx.map(lambda x: 1 // x), describe=describe) as hub:
                return [*brief(await read(hub.subscribe())), hub.shared().state]
        return main

    from kayrx.serve.events import hidden
    assert virtual(make(hidden)) == [
        1, ("error", {"type": "ZeroDivisionError", "message": "the stream has failed"}), "failed"]
    _, (_, data), _ = virtual(make(told))
    assert data["message"] == "integer division or modulo by zero" and "item 1" in data["notes"][0]


def test_a_client_that_raises_is_reported_and_its_siblings_never_notice(virtual: Virtual, tokens: Any) -> None:
    """Law 7: the exception goes to its own task, a report to the hub, and everything to the others."""
    async def main() -> Any:
        async with Hub(kx.source(tokens("abcd"))) as hub:
            async def bad() -> None:
                with pytest.raises(OSError):
                    async with hub.subscribe(name="bad") as events:
                        async for _ in events:
                            raise OSError("mine")
            async with anyio.create_task_group() as group:
                group.start_soon(bad)
                good = brief(await read(hub.subscribe()))
            return good, [(r.client, str(r.error)) for r in hub.reports], hub.clients

    assert virtual(main) == ([*"abcd", END], [("bad", "mine")], 0)


GRAPHS = {
    "one segment, paused": lambda n: kx.source(range(n)) >> kx.map(kx.it + 0),
    "a sink that waits": lambda n: kx.source(range(n)) >> kx.backpressure(1),
    "in the middle of an expansion": lambda n: kx.source([range(n)]) >> kx.flat_map(lambda numbers: numbers),
}


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("policy", ["disconnect", "conflate", "drop_oldest", "latest"])
def test_a_client_that_never_reads_holds_up_nobody_and_stays_bounded(virtual: Virtual, policy: Any, graph: str) -> None:
    """A fast source, one stalled client: the other gets all 5,000, at no cost but its patience."""
    async def main() -> Any:
        cuts: list[str] = []
        async with (Hub(GRAPHS[graph](5000), keep=Keep(count=8)) as hub,
                    hub.subscribe(outbox=Outbox(policy, items=8), on_cut=lambda: cuts.append("cut")) as stalled):
            good = await read(hub.subscribe())
            held = len(stalled.session.log.entries)
            rest = brief([event async for event in stalled])
        return [e.data for e in good[:-1]] == list(range(5000)), held, anyio.current_time(), cuts, rest

    whole, held, seconds, cuts, rest = virtual(main)
    assert whole and held <= 260 and seconds <= 0.25
    gone = policy in ("disconnect", "conflate")
    assert cuts == ["cut"] * gone
    assert rest == ([("end", {"reason": "too slow"})] if gone else [*range(4992, 5000), END] if policy == "drop_oldest"
                    else [4999, END])


@pytest.mark.parametrize("graph", GRAPHS)
def test_blocking_is_for_those_who_ask(virtual: Virtual, graph: str) -> None:
    """The run waits for the blocking client: nothing is lost, no more waits than its outbox holds, all see its pace."""
    async def main() -> Any:
        async with Hub(GRAPHS[graph](30)) as hub, hub.subscribe(outbox=Outbox("block", items=2)) as events:
            got, ahead = [], 0
            while batch := await events.batch(1):
                await anyio.sleep(1)
                ahead = max(ahead, hub.shared().log.last - batch[-1].seq)
                got += batch
            return brief(got), ahead

    got, ahead = virtual(main)
    assert got == [*range(30), END] and ahead <= 2


def test_conflation_gives_a_slow_client_fewer_and_longer_events(virtual: Virtual, tokens: Any) -> None:
    """No text is lost and none doubled, and the events say how many they are."""
    text = "the quick brown fox jumps over the lazy dog " * 20

    async def main() -> list[Event]:
        got = []
        async with Hub(kx.source(tokens(text, 0.01))) as hub, hub.subscribe(outbox=Outbox("conflate", 16)) as events:
            while batch := await events.batch():
                got += batch
                await anyio.sleep(1)
        return got

    got = virtual(main)
    assert "".join(e.data for e in got[:-1]) == text and len(got) < 15
    assert sum(e.count for e in got[:-1]) == len(text) and got[-1].type == "end"


def test_heartbeats_come_before_the_first_event_and_when_idle_only(virtual: Virtual, tokens: Any) -> None:
    """One after each idle span, none while events come; they have no place in the log."""
    async def main() -> list[Any]:
        async with Hub(kx.source(tokens("ab", 2.5))) as hub:
            return [(e.type, e.seq) for e in await read(hub.subscribe(heartbeat=1.0))]

    beat = ("heartbeat", 0)
    assert virtual(main) == [beat, beat, ("data", 1), beat, beat, ("data", 2), ("end", 3)]


def test_a_session_is_seen_by_its_owner_alone(virtual: Virtual) -> None:
    """An attack: unknown ids, ids cut or longer, and a true id of somebody else get one and the same refusal."""
    async def main() -> tuple[set[str], bool, int]:
        async with Hub(lambda text: kx.source([text])) as hub:
            hers, his = hub.open("hers", owner="her"), hub.open("his", owner="him")
            refusals = set()
            for id, owner in [(hers.id, "him"), (hers.id, None), (his.id, "her"), ("", "her"), ("nope", "him"),
                              (hers.id[:-1], "her"), (hers.id + "x", "her"), (hers.id.swapcase(), "her")]:
                with pytest.raises(Refused) as refusal:
                    hub.session(id, owner=owner)
                refusals.add(f"{refusal.value.reason}: {refusal.value}")
            mine = hub.session(hers.id, owner="her") is hers
            ids = {hub.open("x").id for _ in range(900)}
            return refusals, mine and brief(await read(hers.subscribe())) == ["hers", END], len(ids)

    assert virtual(main) == ({"no session: there is no such session"}, True, 900)


def test_ids_that_could_be_guessed_are_refused(virtual: Virtual) -> None:
    """A source of short ids, or of one that is in use, is a RunError and no session."""
    async def main() -> None:
        for secret in ("short", "the same long one"):
            world = kx.World(secret=lambda secret=secret: secret)  # type: ignore[misc]
            async with Hub(kx.source([1]), world=world) as hub:
                with pytest.raises(kx.RunError, match="guess"):
                    _ = hub.open(), hub.open()

    virtual(main)


def test_limits_hold_and_a_session_is_forgotten_after_a_while(virtual: Virtual) -> None:
    """One client or session too many is refused; one that has ended can be read for ``linger`` seconds."""
    async def main() -> Any:
        async with Hub(kx.source([1]), max_clients=1, max_sessions=1, linger=10) as hub:
            session = hub.open()
            with pytest.raises(Refused) as one_more:
                hub.open()
            async with session.subscribe():
                with pytest.raises(Refused) as another:
                    await read(session.subscribe())
            await anyio.sleep(9)
            still = hub.session(session.id) is session
            await anyio.sleep(2)
            with pytest.raises(Refused) as gone:
                hub.session(session.id)
            return one_more.value.reason, another.value.reason, still, gone.value.reason, hub.clients

    assert virtual(main) == ("full", "full", True, "no session", 0)


def test_a_session_that_nobody_reads_is_given_up(virtual: Virtual, tokens: Any) -> None:
    """It was never begun, so nothing ran; and it takes no place for ever."""
    source = tokens()

    async def main() -> Any:
        async with Hub(kx.source(source), linger=10) as hub:
            session = hub.open()
            await anyio.sleep(11)
            return session.state, source.opened, hub.session(session.id) is session, await forgotten(hub, session)

    async def forgotten(hub: Hub, session: Session) -> bool:
        await anyio.sleep(10)
        return session.id not in hub.sessions

    assert virtual(main) == ("cancelled", 0, True, True)


def test_what_is_encoded_is_kept_for_all_within_bounds(virtual: Virtual) -> None:
    """A thousand events for two clients: each is encoded once while it is kept; count and bytes are bounded.

    The client that is last to leave makes the end for itself alone.
    """
    made: list[int] = []

    def encode(event: Event, id: str | None) -> bytes:
        made.append(event.seq)
        return b"x" * event.seq

    async def main() -> tuple[int, int]:
        frames, most = Frames(encode, most=300, size=100_000), 0

        async def client(hub: Hub) -> None:
            nonlocal most
            async with hub.subscribe(outbox=Outbox("block", 16)) as events:
                while batch := await events.batch():
                    assert len(frames.of(events, batch)) == sum(event.seq for event in batch)
                    most = max(most, frames.held)
        async with Hub(kx.source(range(999))) as hub, anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(client, hub)
        return len(made), most

    encoded, most = virtual(main)
    assert len(set(made)) == 1000 and sorted(made)[:999] == [*range(1, 1000)] and encoded <= 1001
    assert 50_000 < most <= 100_000


def test_draining_says_farewell_and_leaves_nothing(virtual: Virtual, tokens: Any) -> None:
    """Runs stop, clients get the end with "shutdown", newcomers are refused, and no source is open."""
    source = tokens()

    async def main() -> Any:
        async with Hub(kx.source(source)) as hub:
            async with anyio.create_task_group() as group:
                async def client() -> None:
                    out.append(brief(await read(hub.subscribe())))
                out: list[Any] = []
                group.start_soon(client)
                await anyio.sleep(2.5)
                await hub.drain(1)
            with pytest.raises(Refused) as refusal:
                await read(hub.subscribe())
            return out, refusal.value.reason, source.closed, anyio.current_time()

    out, reason, closed, seconds = virtual(main)
    assert (out, reason, closed) == ([[0, 1, ("end", {"reason": "shutdown"})]], "closing", 1) and seconds < 4


def test_a_retraction_names_what_is_taken_back(virtual: Virtual) -> None:
    """`kx.Retract` among the items is an event that tells after which event all is void; one after another adds up."""
    async def main() -> list[Event]:
        async with Hub(kx.source(["a", "b", "c", kx.Retract(1), kx.Retract(1), "d", kx.Retract(2), "e"])) as hub:
            return await read(hub.subscribe())

    got = virtual(main)
    assert [(e.seq, e.data["after"]) for e in got if e.type == "retract"] == [(4, 2), (5, 1), (7, 0)]
    assert [e.seq for e in got] == list(range(1, 10))


def test_many_clients_are_woken_in_turns(virtual: Virtual, tokens: Any) -> None:
    """All are served, and no pass of the loop has to serve more than a few slices of them."""
    async def main() -> tuple[int, int]:
        served, steps = 0, list[int]()    # trio may let the one that counts begin late
        async with Hub(kx.source(tokens("ab"))) as hub:
            async def client() -> None:
                nonlocal served
                got = await read(hub.subscribe())
                served += len(got) == 3

            async def watch() -> None:
                async with hub.subscribe() as events:
                    while (await anext(events)).type != "end":
                        pass
                while served < 300:
                    steps.append(served)
                    await anyio.lowlevel.checkpoint()
            async with anyio.create_task_group() as group:
                group.start_soon(watch)
                for _ in range(300):
                    group.start_soon(client)
        return served, max((b - a for a, b in pairwise([*steps, served])), default=1)

    served, most = virtual(main)
    assert served == 300 and 0 < most <= 128


@pytest.mark.parametrize("make", [
    lambda: Hub(kx.map(str)), lambda: Hub(kx.source([1]) >> kx.to_list()), lambda: Hub(7), lambda: Hub(  # type: ignore
        kx.source([1]), on_disconnect="never"), lambda: Hub(kx.source([1]), colour=1), lambda: cancel_after(-1)])
def test_a_bad_hub_is_told_when_written(make: Any) -> None:
    """GraphError for an open graph, a sink, what is no graph, and options that are none."""
    with pytest.raises(kx.GraphError):
        make()


def test_a_hub_is_used_with_async_with(virtual: Virtual) -> None:
    """Before, every use is a RunError that says so; twice is one too."""
    async def main() -> None:
        hub = Hub(kx.source([1]))
        for use in (hub.open, hub.subscribe):
            with pytest.raises(kx.RunError, match="async with hub"):
                use()  # type: ignore[operator]
        async with hub:
            with pytest.raises(kx.RunError, match="open already"):
                await hub.__aenter__()
            with pytest.raises(kx.GraphError, match="heartbeat"):
                hub.subscribe(heartbeat=0)

    virtual(main)


def test_the_session_tells_what_it_is_doing(virtual: Virtual, tokens: Any) -> None:
    """Its state, the counts of its run, and whether a cursor has seen all of it."""
    async def main() -> list[Any]:
        async with Hub(kx.source(tokens("ab"))) as hub:
            session: Session = hub.open()
            out: list[Any] = [session.state, session.metrics()]
            async with session.subscribe() as events:
                await anext(events)
                metrics = session.metrics()
                assert metrics is not None
                out += [session.state, metrics.segments[0].taken, session.finished(3)]
            await session.ended.wait()
            return [*out, session.state, session.finished(3), session.finished(2), session.finished(None)]

    assert virtual(main) == ["waiting", None, "running", 1, False, "complete", True, False, False]

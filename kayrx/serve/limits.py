"""Who may come in: the origin, the caller's own word, how often, how many at once, and how much they say."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any, TypeVar
from urllib.parse import urlsplit
from weakref import WeakSet

import anyio

from kayrx.nodes.values import span, whole
from kayrx.serve.events import Refused

HOOK_SECONDS = 5.0
REMEMBERED = 10_000    # clients whose last requests are known; the ones that were silent longest are forgotten
S = TypeVar("S")
PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one client, by its owner or else its address, may do; what all may together is the hub's ``max_clients``.

    ``streams``   open at once
    ``sessions``  of its own that have not ended, so that nobody takes those of all (the hub's ``max_sessions``)
    ``requests``  in ``seconds``, as a token bucket: so many at once, and then at that rate
    ``body``      bytes of one request or message, and ``slow`` the seconds it may take to come
    """

    streams: int = 64
    sessions: int = 256
    requests: int = 600
    seconds: float = 60.0
    body: int = 64 * 1024
    slow: float = 10.0

    def __post_init__(self) -> None:
        for name in ("streams", "sessions", "requests", "body"):
            whole("Limits", name, getattr(self, name), 1)
        span("Limits", "seconds", self.seconds, zero=False)
        span("Limits", "slow", self.slow, zero=False)


class Counters:
    """How many streams each client has open, and how many requests it has left."""

    def __init__(self, limits: Limits, now: Callable[[], float]) -> None:
        self.limits, self.now = limits, now
        self.open: dict[str, int] = {}
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._own: dict[str, WeakSet[Any]] = {}    # sessions, for as long as the hub has them

    def ask(self, client: str) -> None:
        """Count one request.  Raises: Refused, "too many"."""
        limits, now = self.limits, self.now()
        left, since = self._left.pop(client, (float(limits.requests), now))
        left = min(limits.requests, left + (now - since) * limits.requests / limits.seconds)
        self._left[client] = max(0.0, left - 1), now
        if len(self._left) > REMEMBERED:
            self._left.popitem(last=False)
        if left < 1:
            raise Refused("too many", f"more than {limits.requests} requests in {limits.seconds:g} seconds")

    def begin(self, client: str, opened: Callable[[], S]) -> S:
        """A session of the client's own, made by ``opened``.  Raises: Refused, "too many"."""
        mine = self._own.get(client)
        if mine is None:
            if len(self._own) >= REMEMBERED:
                self._own = {name: sessions for name, sessions in self._own.items() if sessions}
            mine = self._own.setdefault(client, WeakSet())
        elif len(mine) >= self.limits.sessions and (
                sum(not each.ended.is_set() for each in mine) >= self.limits.sessions):
            raise Refused("too many", f"more than {self.limits.sessions} sessions that have not ended")
        session = opened()
        mine.add(session)
        return session

    def enter(self, client: str) -> Callable[[], None]:
        """Count one open stream; gives what is to be called when it closes.  Raises: Refused, "too many"."""
        count = self.open.get(client, 0)
        if count >= self.limits.streams:
            raise Refused("too many", f"more than {self.limits.streams} streams at once")
        self.open[client] = count + 1
        gone = False

        def leave() -> None:
            nonlocal gone
            if gone:
                return
            gone = True
            self.open[client] -= 1
            if not self.open[client]:
                del self.open[client]
        return leave


# -- origins -----------------------------------------------------------------------------------------


def origin_of(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of an origin as browsers send it; None for ``null`` and whatever is not just that."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    host = parts.hostname
    if not url.isascii() or parts.scheme not in PORTS or not host:
        return None
    named = (f"[{host}]" if ":" in host else host) + ("" if port is None else f":{port}")
    if url.partition("://")[0] != parts.scheme or url[len(parts.scheme) + 3:].lower() != named:
        return None
    return parts.scheme, host, PORTS[parts.scheme] if port is None else port


def name_of(host: str) -> str:
    """The name in a Host header, without its port; empty for what is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def origin_allowed(headers: Mapping[str, str], scheme: str, origins: Sequence[str], hosts: Sequence[str] = ()) -> bool:
    """True for a request of no page, of a page of this very server, and of a page of an origin that is listed.

    An origin is its scheme, host and port together: nothing is matched by a part.  ``hosts``, if given, are the
    names that this server answers to: any other Host may be a name that somebody else has pointed here.
    """
    host, origin = headers.get("host", ""), headers.get("origin")
    if hosts and name_of(host) not in hosts:
        return False
    if origin is None:
        return headers.get("sec-fetch-site") != "cross-site" or "*" in origins
    if "*" in origins:
        return True
    seen = origin_of(origin)
    if seen is None:
        return False
    plain = {"ws": "http", "wss": "https"}.get(scheme, scheme)
    return seen == origin_of(f"{plain}://{host}") or seen in [origin_of(known) for known in origins]


# -- the caller's own word -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Allowed:
    """What `authorize` may give: who it is, and for how many seconds a stream may go on before they must come again."""

    owner: object = None
    seconds: float | None = None


Authorize = Callable[[Any], Any]


async def authorized(hook: Authorize | None, request: Any) -> Allowed:
    """What the hook says of a request.  It lets in by `Allowed`, True, or a name of the owner.

    Raises: Refused, "forbidden", if it gives None or False, raises, or takes longer than 5 s.
    """
    if hook is None:
        return Allowed()
    answer: Any = None
    try:
        with anyio.move_on_after(HOOK_SECONDS):
            answer = hook(request)
            if isawaitable(answer):
                answer, waiting = None, answer
                answer = await waiting
    except Exception as error:
        raise Refused("forbidden", "not allowed") from error
    if answer is None or answer is False:
        raise Refused("forbidden", "not allowed")
    return answer if isinstance(answer, Allowed) else Allowed(None if answer is True else answer)


__all__ = ["Allowed", "Counters", "Limits", "authorized", "origin_allowed", "origin_of"]

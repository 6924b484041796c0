"""The connections of a gRPC server: one that nobody reads any more is closed.

grpc.aio cannot reset a call: the status of a client that was let go waits behind what it has not taken, and with it
the call's last batch.  A connection on which no other call is alive is closed instead, by its socket.  The socket is
found by both its addresses, which no two connections share, and only shut: gRPC sees that its peer has gone, and
closes it itself.  A connection that carries calls of others too, as those of a proxy do, is theirs and stays.
"""

from __future__ import annotations

import os
import socket
import stat
from collections import Counter
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import unquote

import anyio
import anyio.to_thread

OPEN = "/dev/fd"    # what is open in this process; not on every system


class Peers:
    """How many calls each connection has that have not ended."""

    def __init__(self) -> None:
        self.port = 0
        self.going: Counter[str] = Counter()

    def came(self, peer: str) -> None:
        self.going[peer] += 1

    def left(self, peer: str) -> None:
        self.going[peer] -= 1
        if not self.going[peer]:
            del self.going[peer]

    async def untaken(self, peer: str, seconds: float) -> None:
        """Close the connection once nothing was taken for so long and no other call is alive on it."""
        while True:
            await anyio.sleep(seconds)
            if not self.going[peer]:
                await anyio.to_thread.run_sync(shut, peer, self.port)    # of thousands of sockets it asks each


def shut(peer: str, port: int) -> bool:
    """Shut the connection of our ``port`` with a peer as gRPC names it; False if it is not to be found.

    >>> shut("ipv4:192.0.2.1:9", 50051), shut("unix:", 50051)
    (False, False)
    """
    wanted = address(peer)
    if wanted is None or not os.path.isdir(OPEN):
        return False
    for name in os.listdir(OPEN):
        try:
            if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                continue
            with socket.socket(fileno=os.dup(int(name))) as wire:    # ours: whatever becomes of that number meanwhile
                if wire.family not in (socket.AF_INET, socket.AF_INET6) or wire.getsockname()[1] != port:
                    continue
                host, theirs = wire.getpeername()[:2]
                if (plain(host), theirs) == wanted:
                    wire.shutdown(socket.SHUT_RDWR)
                    return True
        except OSError:    # closed meanwhile, or listening
            continue
    return False


def address(peer: str) -> tuple[IPv4Address | IPv6Address, int] | None:
    """Host and port of a peer; None for one that has none.

    >>> address("ipv4:127.0.0.1:5000"), address("ipv6:%5B::1%5D:5000"), address("unix:/tmp/x")
    ((IPv4Address('127.0.0.1'), 5000), (IPv6Address('::1'), 5000), None)
    """
    kind, _, rest = unquote(peer).partition(":")
    host, _, port = rest.rpartition(":")
    if kind not in ("ipv4", "ipv6") or not port.isdigit():
        return None
    return plain(host.strip("[]")), int(port)


def plain(host: str) -> IPv4Address | IPv6Address:
    """An address without its zone; one of IPv4 that came over IPv6 is itself."""
    found = ip_address(host.partition("%")[0])
    return getattr(found, "ipv4_mapped", None) or found


__all__ = ["Peers", "shut"]

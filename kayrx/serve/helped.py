"""What ASGI has no words for and uvicorn can do: bound what is unpacked, ping, write many at once, say it stops."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from struct import pack
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import Receive

UNREAD = 1 << 20    # bytes of messages, unpacked, that may wait to be read
FRAME = 64          # bytes that a frame costs beside its data: fragments may be empty


class Helped:
    """A socket's protocol in uvicorn, with our bounds.

    It unpacks whatever one read of the network holds before anybody is asked, and a kilobyte may hold megabytes.
    """

    def __init__(self, protocol: Any, size: int, heartbeat: float | None, told: Callable[[], None]) -> None:
        self.protocol, self.unread, self.most = protocol, 0, max(UNREAD, 2 * size)
        self.taken = protocol.conn.recv_frame
        protocol.conn.recv_frame = self.take
        protocol.conn.max_message_size = size
        protocol.ping_interval = protocol.ping_timeout = heartbeat
        protocol.shutdown = told    # in place of 1012 at once; the server waits for us

    def take(self, frame: Any) -> None:
        """A frame, unpacked.  Raises: PayloadTooBig, which closes with 1009."""
        from websockets.exceptions import PayloadTooBig
        from websockets.frames import CTRL_OPCODES

        if frame.opcode not in CTRL_OPCODES:
            self.unread += len(frame.data) + FRAME
            if self.unread > self.most:
                raise PayloadTooBig(self.unread, self.most)
        self.taken(frame)

    def read(self) -> None:
        """A message has been read."""
        if self.protocol.queue.empty():
            self.unread = 0

    async def send(self, texts: list[bytes], before: bytes) -> None:
        """Text messages, each after ``before``, in one write of the network, where ASGI makes one of each.

        Raises: OSError.
        """
        from websockets.exceptions import InvalidState
        from websockets.protocol import State

        protocol = self.protocol
        await protocol.writable.wait()
        if protocol.disconnected or protocol.close_sent:
            raise ConnectionError("the socket is closed")
        conn = protocol.conn
        if conn.extensions:    # they change what is sent
            try:
                for text in texts:
                    conn.send_text(before + text)
            except InvalidState as error:
                raise ConnectionError("the socket is closed") from error
            pieces = conn.data_to_send()
        elif conn.state is not State.OPEN:
            raise ConnectionError("the socket is closed")
        else:    # an object and a buffer for each message would cost as much as all the rest
            size = len(before)
            pieces = [piece for text in texts for piece in (opening(size + len(text)), before, text)]
        protocol.transport.write(b"".join(pieces))

    def leave(self) -> None:
        """The socket is over: stopping is the server's own again."""
        del self.protocol.shutdown


@lru_cache(1024)
def opening(size: int) -> bytes:
    """What stands before a server's text of so many bytes, whole in one frame (RFC 6455, section 5.2).

    >>> opening(5), opening(300), opening(70_000)
    (b'\\x81\\x05', b'\\x81~\\x01,', b'\\x81\\x7f\\x00\\x00\\x00\\x00\\x00\\x01\\x11p')
    """
    if size < 126:
        return pack("!BB", 0x81, size)
    return pack("!BBH", 0x81, 126, size) if size < 1 << 16 else pack("!BBQ", 0x81, 127, size)


def helped(receive: Receive, size: int, heartbeat: float | None, told: Callable[[], None]) -> Helped | None:
    """uvicorn's protocol, which its ``receive`` knows; None on another server: there messages are as large as it
    allows, and the client has to answer our own pings."""
    protocol: Any = getattr(receive, "__self__", None)
    if not hasattr(protocol, "conn") or not hasattr(protocol, "ping_interval"):
        return None
    return Helped(protocol, size, heartbeat, told)


__all__ = ["Helped", "helped"]

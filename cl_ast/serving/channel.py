"""A channel between two processes of the service: frames over a socket, which arrive in the order they were sent.

Both ends are processes of ours on one machine, so that frames may be pickled.
"""

import asyncio
import pickle
import socket
import struct
from collections.abc import Callable
from typing import Any, cast

_LENGTH = struct.Struct("!I")

Frame = tuple[int, str, Any]
"""The number of the request that it is about (0 for none), what it is, and what belongs to it."""


class Channel(asyncio.Protocol):
    """One end.

    Attributes:
        lost: is set when the other end is gone.
    """

    def __init__(self, take: Callable[[Frame], None]) -> None:
        """
        Args:
            take: is called with each frame that comes.
        """
        self.lost = asyncio.Event()
        self._take = take
        self._got = bytearray()
        self._transport: asyncio.Transport | None = None

    async def connect(self, connected: socket.socket) -> None:
        """Send and receive over a socket, which belongs to the channel from now on."""
        await asyncio.get_running_loop().create_connection(lambda: self, sock=connected)

    def put(self, number: int, what: str, belonging: Any = None) -> None:
        """Send a frame; after the loss of the other end nothing happens."""
        if self._transport is not None:
            content = pickle.dumps((number, what, belonging), pickle.HIGHEST_PROTOCOL)
            self._transport.write(_LENGTH.pack(len(content)) + content)

    def close(self) -> None:
        """Close it, after what was put has been sent."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, as asyncio has it."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """End, as asyncio has it."""
        self._transport = None
        self.lost.set()

    def data_received(self, data: bytes) -> None:
        """Take frames out of what has come."""
        self._got += data
        start = 0
        while len(self._got) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._got, start)
            end = start + _LENGTH.size + length
            if len(self._got) < end:
                break
            with memoryview(self._got) as whole, whole[start + _LENGTH.size : end] as content:
                frame: Frame = pickle.loads(content)
            start = end
            self._take(frame)
        del self._got[:start]

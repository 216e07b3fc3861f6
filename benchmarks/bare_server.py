"""A server that answers every request with the same bytes, as cheaply as Python can: what sending requests takes alone.

    python -m benchmarks.bare_server SIZE

SIZE is the length of each request in bytes, with its head. The port is printed.
"""

import asyncio
import sys
from typing import cast

from uvicorn.loops.auto import auto_loop_factory

_BODY = b"x" * 180
_ANSWER = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: %d\r\n\r\n%b" % (len(_BODY), _BODY)


class _Bare(asyncio.Protocol):
    """A connection over which requests of one length come."""

    _transport: asyncio.Transport
    _got = 0

    def __init__(self, size: int) -> None:
        self._size = size

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._got += len(data)
        if self._got >= self._size:
            self._got -= self._size
            self._transport.write(_ANSWER)


async def _serve(size: int) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Bare(size), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        runner.run(_serve(int(sys.argv[1])))

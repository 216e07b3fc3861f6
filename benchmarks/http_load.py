"""Loads a service over HTTP, with as little time of the processor as Python can: it shares the cores with the service.

One thread keeps all connections. Requests are made beforehand, and of an answer only status and length are read.
"""

import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

Prepared = Callable[[int], bytes]
"""Returns the bytes of a request by its number."""
_END_OF_HEAD = b"\r\n\r\n"
_EXACT = 16  # of so many requests one is followed by exact times
_MOST_WAITING = 60.0  # seconds for an answer


@dataclass
class Load:
    """What some clients got of a service.

    Attributes:
        seconds: how long they sent requests.
        refused: how many were refused.
        answered: how long each answer took, in seconds.
        refusals: how long refusals took whose time was taken exactly.
    """

    seconds: float
    refused: int = 0
    answered: list[float] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.answered) / self.seconds

    def late(self) -> float:
        """Return how long 99 of 100 answers took at most."""
        return sorted(self.answered)[int(0.99 * len(self.answered))]


def request_bytes(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """Return a POST over a connection that stays open."""
    fields = {"Host": "127.0.0.1", "Content-Length": str(len(body)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def closed(port: int, request: Prepared, clients: int, seconds: float) -> Load:
    """Load a service with clients that ask again as soon as they have an answer."""
    with _Connections(port, seconds) as connections:
        for number in range(clients):
            connections.ask(request(number))
        count, end = clients, time.monotonic() + seconds
        while time.monotonic() < end:
            for _ in range(connections.receive(end)):
                connections.ask(request(count))
                count += 1
        return connections.load


def offered(port: int, request: Prepared, rate: float, seconds: float) -> Load:
    """Load a service with requests that come at a rate, whatever it answers; who is refused does not come again.

    Most answers are read when the next request is due, since to wake up for each would take the processor from the
    service twice as often. After every sixteenth request they are read when they come, which times refusals exactly.

    Args:
        rate: requests a second, at equal distances.
    """
    with _Connections(port, seconds) as connections:
        start = time.monotonic()
        for count in range(int(rate * seconds)):
            due, is_exact = start + count / rate, count % _EXACT == 1
            while is_exact and time.monotonic() < due:
                connections.receive(due, exact=True)
            time.sleep(max(0.0, due - time.monotonic()))
            connections.receive(due)
            connections.ask(request(count))
        connections.receive(start + seconds)
        return connections.load


class _Connections:
    """Connections to a service; a new one is made where all others wait for an answer."""

    def __init__(self, port: int, seconds: float) -> None:
        self.load = Load(seconds)
        self._port = port
        self._free: deque[Connection] = deque()
        self._all: list[Connection] = []
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        for one in self._all:
            one.socket.close()

    def ask(self, request: bytes) -> None:
        """Send a request over a connection that waits for nothing."""
        if self._free:
            connection = self._free.pop()
        else:
            connection = Connection(self._port)
            self._all.append(connection)
            self._selector.register(connection.socket, selectors.EVENT_READ, connection)
        connection.ask(request)

    def receive(self, until: float, *, exact: bool = False) -> int:
        """Wait for answers until some come or that time is reached; return how many came.

        Args:
            exact: whether they have not waited to be read.
        """
        found = 0
        for key, _ in self._selector.select(max(0.0, until - time.monotonic())):
            connection: Connection = key.data
            try:
                status = connection.receive()
            except ConnectionError:
                if connection not in self._free:  # only those that nobody uses may be closed
                    raise
                self._free.remove(connection)
                self._selector.unregister(connection.socket)
                continue
            if status:
                taken = time.monotonic() - connection.sent
                if status == 200:
                    self.load.answered.append(taken)
                else:
                    self.load.refused += 1
                    if exact:
                        self.load.refusals.append(taken)
                self._free.append(connection)
                found += 1
        return found


class Connection:
    """A connection that stays open, with one request at a time."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=_MOST_WAITING)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent = 0.0
        self._got = bytearray()
        self._length: int | None = None

    def ask(self, request: bytes) -> None:
        """Send a request."""
        self.sent = time.monotonic()
        self.socket.sendall(request)

    def answer(self, request: bytes) -> int:
        """Send a request and wait for its answer; return the status."""
        self.ask(request)
        while not (status := self.receive()):
            pass
        return status

    def receive(self) -> int:
        """Read what has come; return the status when the answer is whole, and 0 before."""
        some = self.socket.recv(2**16)
        if not some:
            raise ConnectionError("the service has closed a connection")
        self._got += some
        if self._length is None:
            head, found, _ = self._got.partition(_END_OF_HEAD)
            if not found:
                return 0
            fields = bytes(head).lower().split(b"content-length:")
            if len(fields) != 2:
                raise ConnectionError("the service answers without a length")
            self._length = len(head) + len(_END_OF_HEAD) + int(fields[1].split(b"\r\n")[0])
        if len(self._got) < self._length:
            return 0
        status = int(self._got[9:12])
        self._got.clear()
        self._length = None
        return status

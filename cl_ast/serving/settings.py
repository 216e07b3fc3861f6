"""What may be set about the service."""

import ipaddress
from dataclasses import dataclass

from cl_ast.errors import ClAstError


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the service listens, whom it lets in, and how much it takes.

    Raises ClAstError for an address that other machines can reach, without keys.

    Attributes:
        host, port: the address; port 0 takes a free one.
        keys: one of them must come with each request; none is demanded where there are none.
        queue: how many requests may be inside, waiting or computed.
        timeout: seconds from a request's head to its answer.
        most_bytes: of the body of a request.
        most_seconds: of sound in a recording, after it is decoded.
        drain: seconds that accepted requests get after SIGTERM.
        pinned: tasks that stay in memory.
        allow_changes: whether tasks may be trained, imported and removed.
        page: whether it has a page for people.
        location: the registry's folder or URL, which a training opens in a process of its own.
        one_process: whether all requests of a client reach this process. Jobs, kept recordings and trainings need that,
            and are refused otherwise.
    """

    host: str = "127.0.0.1"
    port: int = 8321
    keys: tuple[str, ...] = ()
    queue: int = 256
    timeout: float = 30.0
    most_bytes: int = 100_000_000
    most_seconds: float = 3600.0
    drain: float = 10.0
    pinned: tuple[str, ...] = ()
    allow_changes: bool = False
    page: bool = True
    location: str = ""
    one_process: bool = True

    def __post_init__(self) -> None:
        if not is_loopback(self.host) and not self.keys:
            raise ClAstError(
                f"{self.host} can be reached from other machines: give --api-key-file, or leave out --host"
            )


def is_loopback(host: str) -> bool:
    """Return whether a host's name or address, perhaps in brackets, means this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False

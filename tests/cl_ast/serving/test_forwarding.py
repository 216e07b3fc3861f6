"""Requests that an app in another process answers: neither the app nor the client can tell. Both ends are here."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cl_ast.serving.channel import Channel, Frame
from cl_ast.serving.forwarding import Answerer, Forwarder

Message = MutableMapping[str, Any]
Function = Callable[..., Awaitable[Any]]
PATIENCE = 20.0  # seconds
A_WHILE = 0.05  # seconds, in which what should not happen could

POST: Message = {"type": "http", "method": "POST", "path": "/", "headers": [(b"host", b"here")]}
STREAM: Message = {"type": "websocket", "path": "/", "headers": []}
STARTED: Message = {"type": "http.response.start", "status": 200, "headers": []}


def part(body: bytes, *, more: bool) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def answer(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


@asynccontextmanager
async def forwarded(app: Function) -> AsyncIterator[Forwarder]:
    """Yield what lets an app answer at the other end of a channel."""
    here = Channel(lambda frame: forwarder.take(frame))
    there = Channel(lambda frame: answerer.take(frame))
    forwarder, answerer = Forwarder(here), Answerer(app, there)
    for channel, end in zip((here, there), socket.socketpair(), strict=True):
        await channel.connect(end)
    yield forwarder
    here.close()
    there.close()
    await answerer.close()


class Client:
    """The two functions of ASGI, as a server has them for one client.

    Attributes:
        asked: how many messages were wanted of it.
        got: what it was sent.
    """

    def __init__(self, *messages: Message) -> None:
        self.asked = 0
        self.got: list[Message] = []
        self.takes = asyncio.Event()
        self.takes.set()
        self.has_left = False
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        for message in messages:
            self.say(message)

    def say(self, message: Message) -> None:
        self._messages.put_nowait(message)

    async def receive(self) -> Message:
        self.asked += 1
        return await self._messages.get()

    async def send(self, message: Message) -> None:
        await self.takes.wait()
        if self.has_left:
            raise OSError("gone")
        self.got.append(message)


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test in an event loop, and not for ever."""

    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE):
            await test()

    asyncio.run(bounded())


@given(
    body=st.lists(st.binary(max_size=40), min_size=1, max_size=5),
    answers=st.lists(st.binary(max_size=40), min_size=1, max_size=5),
    status=st.integers(200, 599),
    reads=st.integers(0, 6),
)
def test_app_and_client_get_what_they_would_without_it(
    body: list[bytes], answers: list[bytes], status: int, reads: int
) -> None:
    async def seen(*, directly: bool) -> tuple[list[Message], list[Message]]:
        received: list[Message] = []

        async def app(scope: Message, receive: Function, send: Function) -> None:
            assert scope["path"] == "/"
            received.extend([await receive() for _ in range(min(reads, len(body)))])
            await send({"type": "http.response.start", "status": status, "headers": [(b"a", b"b")]})
            for number, one in enumerate(answers, 1):
                await send(answer(one, more=number < len(answers)))

        client = Client(*(part(one, more=number < len(body)) for number, one in enumerate(body, 1)))
        if directly:
            await app(POST, client.receive, client.send)
        else:
            async with forwarded(app) as forwarder:
                await forwarder(POST, client.receive, client.send)
                assert not forwarder.inside
        return received, client.got

    assert asyncio.run(seen(directly=False)) == asyncio.run(seen(directly=True))


@given(
    frames=st.lists(st.tuples(st.integers(0, 9), st.text(max_size=9), st.binary(max_size=99)), max_size=6),
    cuts=st.lists(st.integers(1, 60)),
)
def test_frames_arrive_whole_however_their_bytes_do(frames: list[Frame], cuts: list[int]) -> None:
    class Wire:
        sent = b""

        def write(self, content: bytes) -> None:
            self.sent += content

    found: list[Frame] = []
    sender, receiver, wire = Channel(found.append), Channel(found.append), Wire()
    sender.connection_made(wire)  # type: ignore[arg-type]
    for frame in frames:
        sender.put(*frame)
    rest = wire.sent
    for cut in [*cuts, len(rest) + 1]:
        receiver.data_received(rest[:cut])
        rest = rest[cut:]
    assert found == frames


def test_no_more_of_a_body_is_read_than_the_app_wants() -> None:
    async def app(scope: Message, receive: Function, send: Function) -> None:
        for _ in range(3):
            await receive()
        read.set()
        await asyncio.Event().wait()

    async def test() -> None:
        client = Client(*[part(b"x", more=True)] * 20)
        async with forwarded(app) as forwarder:
            asking = asyncio.create_task(forwarder(POST, client.receive, client.send))
            await read.wait()
            await asyncio.sleep(A_WHILE)
            assert client.asked == 3
            asking.cancel()

    read = asyncio.Event()
    run(test)


def test_no_more_of_an_answer_is_made_than_the_client_takes() -> None:
    made: list[int] = []

    async def app(scope: Message, receive: Function, send: Function) -> None:
        await send(STARTED)
        for number in range(20):
            made.append(number)
            await send(answer(b"x", more=number < 19))

    async def test() -> None:
        client = Client(part(b"", more=False))
        client.takes.clear()
        async with forwarded(app) as forwarder:
            asking = asyncio.create_task(forwarder(POST, client.receive, client.send))
            while not made:
                await asyncio.sleep(0)
            await asyncio.sleep(A_WHILE)
            assert made == [0]
            client.takes.set()
            await asking
        assert len(client.got) == 21

    run(test)


@pytest.mark.parametrize("value", [b"100-continue", b"100-Continue"])
def test_a_client_that_waits_to_be_asked_for_its_body_is_asked_when_the_app_wants_it(value: bytes) -> None:
    async def app(scope: Message, receive: Function, send: Function) -> None:
        begun.set()
        await wanted.wait()
        assert (await receive())["body"] == b"now"
        await send(STARTED)
        await send(answer(b"done"))

    async def test() -> None:
        client = Client(part(b"now", more=False))
        async with forwarded(app) as forwarder:
            scope = {**POST, "headers": [(b"expect", value)]}
            asking = asyncio.create_task(forwarder(scope, client.receive, client.send))
            await begun.wait()
            await asyncio.sleep(A_WHILE)
            assert client.asked == 0 and len(forwarder.inside) == 1
            wanted.set()
            await asking
        assert client.got[-1]["body"] == b"done"

    begun, wanted = asyncio.Event(), asyncio.Event()
    run(test)


def test_the_app_is_told_that_its_client_has_left() -> None:
    heard: list[str] = []

    async def app(scope: Message, receive: Function, send: Function) -> None:
        while not heard or heard[-1] == "http.request":
            heard.append((await receive())["type"])

    async def test() -> None:
        client = Client(part(b"all", more=False))
        async with forwarded(app) as forwarder:
            asking = asyncio.create_task(forwarder(POST, client.receive, client.send))
            while not heard:
                await asyncio.sleep(0)
            client.say({"type": "http.disconnect"})
            await asking
        assert heard == ["http.request", "http.disconnect"] and not client.got

    run(test)


def test_after_its_answer_an_app_hears_that_the_client_has_left() -> None:
    async def app(scope: Message, receive: Function, send: Function) -> None:
        await send(STARTED)
        await send(answer(b"done"))
        heard.append((await receive())["type"])
        over.set()

    async def test() -> None:
        client = Client()
        async with forwarded(app) as forwarder:
            await forwarder(POST, client.receive, client.send)
            await over.wait()

    heard: list[str] = []
    over = asyncio.Event()
    run(test)
    assert heard == ["http.disconnect"]


def test_a_stream_goes_to_and_fro_and_sending_fails_when_its_client_has_left() -> None:
    async def app(scope: Message, receive: Function, send: Function) -> None:
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"].upper()})
        left.append(message["type"])
        client.has_left = True
        try:
            await send({"type": "websocket.send", "text": "still there?"})
        except OSError as error:
            left.append(str(error))

    async def test() -> None:
        async with forwarded(app) as forwarder:
            for text in ("one", "two"):
                client.say({"type": "websocket.receive", "text": text})
            client.say({"type": "websocket.disconnect", "code": 1001})
            await forwarder(STREAM, client.receive, client.send)

    left: list[str] = []
    client = Client()
    run(test)
    assert [message["text"] for message in client.got] == ["ONE", "TWO"]
    assert left == ["websocket.disconnect", "the client has left"]


def test_what_an_app_fails_with_is_raised_where_the_server_is() -> None:
    async def app(scope: Message, receive: Function, send: Function) -> None:
        raise ValueError("no such thing")

    async def test() -> None:
        client = Client(part(b"", more=False))
        async with forwarded(app) as forwarder:
            with pytest.raises(RuntimeError, match="ValueError: no such thing"):
                await forwarder(POST, client.receive, client.send)
            assert not forwarder.inside

    run(test)

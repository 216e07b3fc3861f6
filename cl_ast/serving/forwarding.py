"""A request goes to the app of another process and its answer comes back, in the messages that ASGI has for them.

The server's process has a `Forwarder` and the app's process an `Answerer`, with a channel between them. About a request
these frames are sent:

| frame | from | |
|---|---|---|
| begin | server | what ASGI calls the scope |
| more | app | it wants the next message of the client |
| message | server | a message of the client |
| answer | app | messages for the client |
| sent | server | they were sent, and whether that failed; not said of the last ones |
| end | app | it has ended without an end of the answer, and perhaps the error |

So at most one message a request and direction is on its way, and no more of a body is in memory than without the
channel. The first message is sent at once, since nearly every app wants it, except that of a client that waits for "100
Continue": to ask for it would let the body come. After a whole body, that the client has left is sent at once, too.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any

from cl_ast.serving.asgi import App, Message, Receive, Scope, Send
from cl_ast.serving.channel import Channel, Frame
from cl_ast.wording import first_line

_BEGIN, _MORE, _MESSAGE, _ANSWER, _SENT, _END = "begin", "more", "message", "answer", "sent", "end"
_LEFT: Mapping[str, Message] = {
    "http": {"type": "http.disconnect"},
    "websocket": {"type": "websocket.disconnect", "code": 1006},
}


class Forwarder:
    """An app, as ASGI has it, that lets an app in another process answer.

    Attributes:
        inside: the numbers of the requests that may take a place there, and have no answer yet: of POSTs and
            WebSockets.
    """

    def __init__(self, channel: Channel) -> None:
        self.inside: set[int] = set()
        self._channel = channel
        self._numbers = count(1)
        self._forwarded: dict[int, _Forwarded] = {}

    def take(self, frame: Frame) -> None:
        """Take a frame from the other end, other than those about no request."""
        number, what, belonging = frame
        forwarded = self._forwarded.get(number)
        if forwarded is None:  # the client has left
            return
        if what == _MORE:
            forwarded.wanted.set()
        else:
            forwarded.answers.put_nowait((what, belonging))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection, as ASGI has it. Raises RuntimeError where the app has failed."""
        number, forwarded = next(self._numbers), _Forwarded()
        if not _asks_to_continue(scope):
            forwarded.wanted.set()
        if scope.get("method", "POST") == "POST":
            self.inside.add(number)
        self._forwarded[number] = forwarded
        passing = asyncio.create_task(self._pass_on(number, scope, receive, forwarded))
        try:
            await self._give(number, send, forwarded)
        finally:
            passing.cancel()
            self.inside.discard(number)
            del self._forwarded[number]

    async def _pass_on(self, number: int, scope: Scope, receive: Receive, forwarded: "_Forwarded") -> None:
        """Begin, and pass the messages of the client on, each when it is wanted.

        A short body is here already. It is sent with the beginning, so that the other process wakes up once.
        """
        self._channel.put(number, _BEGIN, dict(scope))
        while True:
            await forwarded.wanted.wait()
            forwarded.wanted.clear()
            message = await receive()
            self._channel.put(number, _MESSAGE, message)
            if message["type"] in ("http.disconnect", "websocket.disconnect"):
                return
            if _is_last_of_body(message):
                forwarded.wanted.set()

    async def _give(self, number: int, send: Send, forwarded: "_Forwarded") -> None:
        """Give the client what the app answers, to the end."""
        while True:
            what, belonging = await forwarded.answers.get()
            if what == _END:
                if belonging is not None:
                    raise RuntimeError(belonging)
                return
            is_last = _is_last_of_answer(belonging[-1])
            if is_last:
                self.inside.discard(number)  # before the client can ask again
            failed = False
            try:
                for message in belonging:
                    await send(message)
            except OSError:  # the client has left
                failed = True
            if is_last:
                return
            self._channel.put(number, _SENT, failed)


class _Forwarded:
    """A request that is answered elsewhere.

    Attributes:
        wanted: is set when the next message of the client is wanted.
        answers: frames with messages for the client, and the end.
    """

    def __init__(self) -> None:
        self.wanted = asyncio.Event()
        self.answers: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()


class Answerer:
    """Lets an app answer the requests that come over a channel."""

    def __init__(self, app: App, channel: Channel) -> None:
        self._app = app
        self._channel = channel
        self._requests: dict[int, _Request] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, frame: Frame) -> None:
        """Take a frame from the other end, other than those about no request."""
        number, what, belonging = frame
        if what == _BEGIN:
            request = self._requests[number] = _Request(belonging, partial(self._channel.put, number))
            task = asyncio.create_task(self._answer(number, request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        known = self._requests.get(number)
        if known is None:  # it has been answered
            return
        if what == _MESSAGE:
            known.take(belonging)
        else:
            known.sent(belonging)

    async def close(self) -> None:
        """Cancel what has no answer yet."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _answer(self, number: int, request: "_Request") -> None:
        error = None
        try:
            await self._app(request.scope, request.receive, request.send)
        except Exception as raised:
            error = f"{type(raised).__name__}: {first_line(raised)}"
        finally:
            del self._requests[number]
            if not request.answered:
                self._channel.put(number, _END, error)


class _Request:
    """A request that an app answers, with the two functions of ASGI.

    Attributes:
        scope: what ASGI calls that.
        answered: whether the answer of HTTP is whole.
    """

    def __init__(self, scope: Scope, put: Callable[..., None]) -> None:
        self.scope = scope
        self.answered = False
        self._put = put
        self._is_coming = not _asks_to_continue(scope)  # whether a message will come without being asked for
        self._messages: deque[Message] = deque()
        self._changed = asyncio.Event()
        self._start: Message | None = None  # of an answer, until there is something of its body
        self._sending: deque[asyncio.Future[bool]] = deque()

    def take(self, message: Message) -> None:
        """Take a message of the client."""
        self._is_coming = _is_last_of_body(message)
        self._messages.append(message)
        self._changed.set()

    def sent(self, failed: bool) -> None:
        """Take note that what was answered first of all has been sent, or that this has failed."""
        waiting = self._sending.popleft()
        if not waiting.done():
            waiting.set_result(failed)

    async def receive(self) -> Message:
        """Return the next message of the client, as ASGI has it."""
        while not self._messages:
            if self.answered:
                return {**_LEFT[self.scope["type"]]}
            if not self._is_coming:
                self._is_coming = True
                self._put(_MORE)
            self._changed.clear()
            await self._changed.wait()
        return self._messages.popleft()

    async def send(self, message: Message) -> None:
        """Send a message to the client, as ASGI has it. Raises OSError where it has left."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        messages: Sequence[Message] = [message] if self._start is None else [self._start, message]
        self._start = None
        self._put(_ANSWER, messages)
        if _is_last_of_answer(message):
            self.answered = True
            self._changed.set()
            return
        sending = asyncio.get_running_loop().create_future()
        self._sending.append(sending)
        if await sending:
            raise OSError("the client has left")


def _asks_to_continue(scope: Scope) -> bool:
    """Return whether a client sends the body of its request only when it is asked to."""
    return any(name == b"expect" and value.lower() == b"100-continue" for name, value in scope["headers"])


def _is_last_of_body(message: Message) -> bool:
    return message["type"] == "http.request" and not message.get("more_body", False)


def _is_last_of_answer(message: Message) -> bool:
    return message["type"] == "http.response.body" and not message.get("more_body", False)

"""A registry with a task whose file is damaged: its own requests fail, and everything else is answered."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from websockets.sync.client import connect

from registry import Registry
from tests.cli.served import Server, served

pytestmark = pytest.mark.slow  # all together: what the service says of them is looked at in the end


@pytest.fixture(scope="module")
def server(stages: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One whose task noises is damaged."""
    home = Path(shutil.copytree(stages["chirps"], tmp_path_factory.mktemp("broken") / "registry"))
    with Registry.open(home) as registry:
        sha256 = registry.task("noises").version.adapter_sha256
    path = home / "adapters" / f"{sha256}.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with served(home) as found:
        yield found
    assert any("noises is left out" in line for line in found.errors)


@pytest.fixture(scope="module")
def clip(data: Path) -> bytes:
    return (data / "noises" / "hiss" / "00.wav").read_bytes()


def test_others_are_classified(server: Server, clip: bytes) -> None:
    assert server.ask("/v1/classify?task=tones", clip).status == 200
    assert server.ask("/v1/classify", clip).json["results"][0]["task"] in ("tones", "chirps")
    assert server.ask("/hf/auto", clip).status == 200


@pytest.mark.parametrize("task", ["auto", "all"])
def test_events_of_others_are_found_and_the_answer_says_who_is_left_out(server: Server, clip: bytes, task: str) -> None:
    found = server.ask(f"/v1/events?task={task}&on=0.1&min_duration=0", clip).json
    assert found["left_out"] == ["noises"]
    assert {one["task"] for one in found["events"]} <= {"tones", "chirps", None}
    place = server.ask(f"/v1/jobs?task={task}", clip).headers["location"]
    assert b"event: done" in server.ask(f"{place}/stream").body
    assert server.ask(place).json["left_out"] == ["noises"]
    with connect(server.url.replace("http", "ws") + "/v1/stream") as socket:
        socket.send(json.dumps({"type": "session.update", "task": task}))
        assert json.loads(socket.recv(20))["left_out"] == ["noises"]
        socket.send('{"type": "session.finish"}')
        assert json.loads(socket.recv(20))["type"] == "session.done"


def test_its_own_requests_say_that_it_is_damaged(server: Server, clip: bytes) -> None:
    message = "the file of the task noises is damaged or missing; the service's log says more"
    for path in ("/v1/classify?task=noises", "/hf/noises", "/v1/events?task=noises"):
        reply = server.ask(path, clip)
        assert (reply.code, reply.json["error"]["message"]) == ("broken_task", message), path
    place = server.ask("/v1/jobs?task=noises", clip).headers["location"]
    assert message in server.ask(f"{place}/stream").body.decode()
    with connect(server.url.replace("http", "ws") + "/v1/stream") as socket:
        socket.send('{"type": "session.update", "task": "noises"}')
        assert json.loads(socket.recv(20))["error"]["message"] == message


def test_what_is_there_is_listed_with_it(server: Server) -> None:
    for path in ("/v1/models", "/v1/tasks", "/v1/stats", "/v1/tasks/noises", "/readyz", "/metrics"):
        assert server.ask(path).status == 200, path

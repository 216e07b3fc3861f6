"""`cl-ast serve --engine ray`: two replicas on a cluster of this machine answer as one process does."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from cl_ast.manager import Manager
from tests.cli.conftest import Run
from tests.cli.served import served


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="pip install 'cl-ast[ray]'")  # importing it would take seconds
def test_two_replicas_answer_as_one_process(stages: Mapping[str, Path], data: Path) -> None:
    clips = sorted((data / "noises").rglob("0[0-3].wav"))
    with Manager.open(stages["chirps"], device="cpu") as manager:
        alone = (manager.predict([clip], task="noises") for clip in clips)  # as a deterministic request is answered
        expected = [list(one.labels) for each in alone for one in each if one.ok]
    with served(stages["chirps"], "--engine", "ray", "--replicas", 2) as server:

        def labels(clip: Path) -> list[tuple[str, float]]:
            reply = server.ask("/v1/classify?task=noises&deterministic=true", clip.read_bytes())
            return [(one["label"], one["score"]) for one in reply.json["results"][0]["labels"]]

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(labels, clips)) == expected
        with connect(server.url.replace("http", "ws") + "/v1/stream", subprotocols=[Subprotocol("cl-ast")]) as socket:
            socket.send('{"type": "session.update", "task": "noises"}')
            assert json.loads(socket.recv(20))["type"] == "session.created"
            socket.send('{"type": "session.finish"}')
            assert json.loads(socket.recv(20))["type"] == "session.done"
        for path in ("/v1/jobs", "/v1/jobs/1", "/v1/recordings", "/v1/recordings/1/sound", "/v1/trainings?name=more"):
            reply = server.ask(path, clips[0].read_bytes())
            assert (
                reply.code == "forbidden"
                and "are kept by a service of one process only" in reply.json["error"]["message"]
            )
        assert b'<script type="module"' in server.ask("/").body
        assert server.ask("/page/app.js").status == 200
        assert server.ask("/v1/classify?task=nothing", clips[0].read_bytes()).code == "unknown_task"
        assert server.ask("/readyz").json["ready"]
        assert server.end() == 0


def test_replicas_are_those_of_a_cluster(stages: Mapping[str, Path], run: Run) -> None:
    assert run(stages["chirps"], "serve", "--replicas", 2).code == 2

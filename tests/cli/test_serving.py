"""`cl-ast serve`, asked as its users ask it: over HTTP, by a process of its own."""

import base64
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cl_ast.inference.prediction import Prediction
from cl_ast.manager import Manager
from registry import Registry
from tests.cli.served import Server, served

TASKS = ("tones", "noises", "chirps")


@pytest.fixture(scope="module")
def home(stages: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The registry that is served, which some tests change and put back."""
    import shutil

    return Path(shutil.copytree(stages["chirps"], tmp_path_factory.mktemp("served") / "registry"))


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Server]:
    with served(home, "--allow-changes", "--max-seconds", 120, "--max-upload", "8MB", "--pin", "tones") as found:
        yield found
        assert found.end() == 0


@pytest.fixture(scope="module")
def clips(data: Path) -> list[Path]:
    return sorted(data.rglob("0[0-3].wav"))


def labels(server: Server, clip: Path, query: str = "") -> list[dict[str, object]]:
    reply = server.ask(f"/v1/classify?{query}", clip.read_bytes())
    assert reply.status == 200, reply
    (result,) = reply.json["results"]
    return list(result["labels"])


def predicted(home: Path, clips: list[Path], task: str) -> list[Prediction]:
    with Manager.open(home, device="cpu") as manager:
        found = list(manager.predict(clips, task=task))
    assert all(isinstance(one, Prediction) for one in found)
    return found  # type: ignore[return-value]


@pytest.mark.slow
def test_the_inference_client_of_the_hub_works_unchanged(
    server: Server, home: Path, clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import InferenceClient, constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # which forbids this machine's own addresses, too
    for task in ("noises", "auto"):
        client = InferenceClient(model=f"{server.url}/hf/{task}")
        (expected,) = predicted(home, clips[:1], task)
        found = client.audio_classification(clips[0])
        assert [one.label for one in found] == [label for label, _ in expected.labels]
        np.testing.assert_allclose([one.score for one in found], [score for _, score in expected.labels], atol=1e-5)
        (best,) = client.audio_classification(clips[0], top_k=1)
        assert best.label == expected.labels[0][0] and best.score == pytest.approx(expected.labels[0][1], abs=1e-5)
        raw = client.audio_classification(clips[0], function_to_apply="none")
        sigmoid = client.audio_classification(clips[0], function_to_apply="sigmoid")
        for one, other in zip(raw, sigmoid, strict=True):
            assert other.score == pytest.approx(1 / (1 + np.exp(-one.score)), abs=1e-5)


def test_the_head_of_an_answer_says_which_version_of_which_task_it_is(server: Server, clips: list[Path]) -> None:
    body = json.dumps({"inputs": base64.b64encode(clips[0].read_bytes()).decode()}).encode()
    reply = server.ask("/hf/TONES", body, Content_Type="application/json", X_Request_ID="mine-1")
    assert (reply.headers["cl-ast-task"], reply.headers["cl-ast-version"]) == ("tones", "1")
    assert reply.headers["cl-ast-known"] == "true"
    assert reply.headers["x-request-id"] == "mine-1"


@pytest.mark.slow
def test_many_clients_and_tasks_at_once_get_the_answers_of_predict(
    server: Server, home: Path, clips: list[Path]
) -> None:
    expected = {task: predicted(home, clips, task) for task in (*TASKS, "auto")}

    def check(task: str, n: int) -> None:
        result = server.ask(f"/v1/classify?task={task}", clips[n].read_bytes()).json["results"][0]
        wanted = expected[task][n]
        assert (result["task"], result["known"]) == (wanted.task, wanted.known)
        assert [one["label"] for one in result["labels"]] == [label for label, _ in wanted.labels]
        np.testing.assert_allclose([one["score"] for one in result["labels"]], [s for _, s in wanted.labels], atol=1e-5)
        assert [one["task"] for one in result.get("tasks", ())] == [name for name, _ in wanted.tasks or ()]

    with ThreadPoolExecutor(16) as pool:
        each = [pool.submit(check, task, n) for n in range(len(clips)) for task in expected]
    for one in each:
        one.result()


@pytest.mark.slow
def test_a_deterministic_answer_is_exactly_that_of_predict(
    server: Server, home: Path, clips: list[Path], tmp_path: Path
) -> None:
    """Also while others ask, and for a clip that is cut into many windows or into one answer each."""
    long = tmp_path / "long.wav"
    soundfile.write(long, np.concatenate([soundfile.read(clip)[0] for clip in clips]), 16_000)
    with ThreadPoolExecutor(8) as pool:
        for clip in (clips[0], long):
            for task in TASKS:
                others = [pool.submit(labels, server, other) for other in clips[:4]]
                (wanted,) = predicted(home, [clip], task)
                found = labels(server, clip, f"task={task}&deterministic=true")
                assert [(one["label"], one["score"]) for one in found] == list(wanted.labels)
                assert all(other.result() for other in others)


def test_several_files_are_answered_each_and_a_bad_one_is_an_error_of_its_own(
    server: Server, clips: list[Path]
) -> None:
    files = [(f"{n}.wav", clip.read_bytes()) for n, clip in enumerate(clips[:3])]
    reply = server.form("/v1/classify?task=tones&top_k=1", [*files, ("../../etc/\u202epasswd", b"no sound")])
    *good, bad = reply.json["results"]
    assert [one["file"] for one in good] == ["0.wav", "1.wav", "2.wav"]
    assert all(len(one["labels"]) == 1 for one in good)
    assert bad["file"] == "\\u202epasswd" and bad["error"]["code"] == "unreadable_audio"
    assert reply.json["usage"] == {"audio_seconds": 1.5, "windows": 3}
    assert set(reply.json["timing_ms"]) == {"decode", "queue", "route", "compute"}


@pytest.mark.slow
def test_windows_are_those_of_predict(server: Server, home: Path, clips: list[Path], tmp_path: Path) -> None:
    """More of them than enter the engine at once."""
    from cl_ast.audio.windows import Window

    long = tmp_path / "long.wav"
    soundfile.write(long, np.concatenate([soundfile.read(clip)[0] for clip in clips]), 16_000)
    with Manager.open(home, device="cpu") as manager:
        wanted = list(manager.predict(long, task="auto", window=Window(0.5, 0.1)))
    found = server.ask("/v1/classify?window=0.5&hop=0.1", long.read_bytes()).json["results"]
    assert len(found) == len(wanted) > 50
    assert [(one["start"], one["end"], one["task"]) for one in found] == [
        (one.start, one.end, one.task) for one in wanted if isinstance(one, Prediction)
    ]


def test_a_timeline_has_a_row_of_scores_for_each_step(server: Server, clips: list[Path]) -> None:
    body = clips[0].read_bytes()
    result = server.ask("/v1/classify?task=noises&timeline=true&top_k=1", body).json["results"][0]
    found = result["timeline"]
    assert found["labels"] == ["clicks", "hiss"] and found["starts"][:2] == [0.0, found["step"]]
    assert len(found["scores"]) == len(found["starts"]) > 1
    assert all(sum(row) == pytest.approx(1, abs=1e-3) for row in found["scores"])
    assert "timeline" not in server.ask("/v1/classify?task=noises", body).json["results"][0]


@pytest.mark.slow
def test_what_is_there_is_listed_and_nothing_of_the_machine(server: Server, home: Path, backbone: Path) -> None:
    models = server.ask("/v1/models").json["data"]
    assert [one["id"] for one in models] == [*TASKS, "auto"]
    (tones,) = [one for one in server.ask("/v1/tasks").json["tasks"] if one["name"] == "tones"]
    alone = server.ask("/v1/tasks/Tones")
    assert alone.json == tones and alone.headers["etag"] == f'"{tones["sha256"]}"'
    assert tones["labels"] == ["high", "low"] and tones["accuracy"] is not None
    stats = server.ask("/v1/stats").json
    assert [task["name"] for task in stats["tasks"]] == list(TASKS)
    for path in ("/v1/models", "/v1/tasks", "/v1/stats", "/openapi.json", "/metrics", "/v1/tasks/nothing"):
        text = server.ask(path).body.decode()
        assert str(backbone.parent) not in text and str(home.parent) not in text, path


def test_a_name_that_was_rebound_to_this_machine_is_not_answered(server: Server, clips: list[Path]) -> None:
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", ""):
        assert server.ask("/v1/classify", clips[0].read_bytes(), Host=host).code == "forbidden"
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:80"):
        assert server.ask("/v1/classify", clips[0].read_bytes(), Host=host).status == 200


def test_health_says_what_it_means_and_metrics_count(server: Server, clips: list[Path]) -> None:
    assert server.ask("/livez").json == {"status": "ok"}
    assert server.ask("/readyz").json == {"ready": True, "why": None}
    before = _counter(server, 'cl_ast_task_windows_total{task="chirps"}')
    labels(server, clips[0], "task=chirps")
    assert _counter(server, 'cl_ast_task_windows_total{task="chirps"}') == before + 1
    assert _counter(server, 'cl_ast_requests_total{route="/v1/classify",status="200"}') >= 1
    assert _counter(server, "cl_ast_requests_inside") == 0
    assert server.ask("/docs").code == server.ask("/redoc").code == "not_found"


def _counter(server: Server, name: str) -> float:
    lines = server.ask("/metrics").body.decode().splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(name)), 0.0)


def test_what_another_process_learns_and_removes_is_answered_or_not_at_once(
    server: Server, home: Path, clips: list[Path]
) -> None:
    def answers(task: str) -> int:
        return server.ask(f"/v1/classify?task={task}", clips[0].read_bytes()).status

    assert answers("noises") == 200
    with Registry.open(home) as registry:
        registry.remove("noises")
        assert answers("noises") == 404
        assert server.ask("/v1/classify?task=noises", clips[0].read_bytes()).code == "unknown_task"
        assert labels(server, clips[0])
        registry.undo()
        assert answers("noises") == 200
        registry.rename("noises", "hiss")
        assert (answers("noises"), answers("hiss")) == (404, 200)
        registry.rename("hiss", "noises")


@pytest.mark.slow
def test_while_another_process_replaces_a_task_each_answer_is_of_one_version(
    server: Server, home: Path, clips: list[Path], backbone: Path
) -> None:
    """The two versions have different labels, so that half of each would show."""
    from concurrent.futures import Future

    with Registry.open(home) as registry:
        data = {name: registry.read_adapter(registry.task(name).version) for name in ("tones", "chirps")}
        facts = {name: registry.task(name).version.facts() for name in data}

        def ask() -> set[tuple[str, ...]]:
            result = server.ask("/v1/classify?task=both", clips[0].read_bytes()).json["results"][0]
            names = tuple(sorted(one["label"] for one in result["labels"]))
            return {(names, result["sha256"])}  # type: ignore[arg-type]

        registry.commit("both", data["tones"], facts["tones"])
        with ThreadPoolExecutor(4) as pool:
            asked: list[Future[set[tuple[str, ...]]]] = []
            for n in range(10):
                asked += [pool.submit(ask) for _ in range(4)]
                name = ("chirps", "tones")[n % 2]
                registry.commit("both", data[name], facts[name], replace=True)
        seen = set().union(*(one.result() for one in asked))
        registry.remove("both")
    assert {names for names, _ in seen} <= {("high", "low"), ("down", "up")}
    hashes = {names: {sha256 for other, sha256 in seen if other == names} for names, _ in seen}
    assert not set.intersection(*hashes.values()) or len(hashes) == 1


@pytest.mark.slow
def test_a_task_is_imported_from_the_files_of_an_export_and_removed(
    server: Server, home: Path, clips: list[Path], tmp_path: Path
) -> None:
    with Manager.open(home, device="cpu") as manager:
        manager.export("noises", tmp_path / "out")
    files = [(path.name, path.read_bytes()) for path in sorted((tmp_path / "out").iterdir())]
    reply = server.form("/v1/tasks?name=theirs", files)
    assert reply.status == 201 and reply.json["name"] == "theirs" and reply.json["by_name_only"]
    assert labels(server, clips[0], "task=theirs") == labels(server, clips[0], "task=noises")
    assert server.form("/v1/tasks?name=theirs", files).code == "conflict"
    assert server.form("/v1/tasks?name=theirs&replace=true", files).json["version"] == 2
    assert server.ask("/v1/tasks/theirs", method="DELETE").status == 204
    assert server.ask("/v1/tasks/theirs", method="DELETE").code == "unknown_task"
    damaged = [(name, content[:-20] if name.endswith("safetensors") else content) for name, content in files]
    for bad in (damaged, files[:1], [*files, ("evil.pkl", b"cos")], [*files, ("../adapter_config.json", b"{}")]):
        refused = server.form("/v1/tasks?name=worse", bad)
        assert refused.code == "invalid" and "/" not in refused.json["error"]["message"].replace("the upload/", "")
    assert server.ask("/v1/tasks/worse").code == "unknown_task"


@pytest.mark.slow
def test_a_broken_file_is_an_error_of_its_task_alone(server: Server, home: Path, clips: list[Path]) -> None:
    with Registry.open(home) as registry:
        version = registry.task("tones").version
        registry.commit("broken", registry.read_adapter(version), version.facts())
        sha256 = registry.task("broken").version.adapter_sha256
    path = home / "adapters" / f"{sha256}.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    reply = server.ask("/v1/classify?task=broken", clips[0].read_bytes())
    assert reply.code == "broken_task" and "broken" in reply.json["error"]["message"]
    assert str(home) not in reply.body.decode()
    assert labels(server, clips[0], "task=tones") and labels(server, clips[0])
    with Registry.open(home) as registry:
        registry.remove("broken")

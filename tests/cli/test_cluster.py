"""`--engine ray`: a cluster on this machine gives the answers and makes the registry of one process."""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.cli.conftest import Run, Start, contents

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'cl-ast[ray]'"
)


@pytest.mark.slow
@needs_ray
def test_two_workers_answer_as_one_process_does(
    registry: Path, data: Path, process: Start, run: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "mixed"
    for task in ("tones", "noises"):
        shutil.copytree(data / task, folder / task)
    (folder / "tones" / "broken.wav").write_bytes(b"no sound")
    samples, rate = soundfile.read(data / "tones" / "low" / "00.wav")
    soundfile.write(folder / "tones" / "long.wav", np.tile(samples, 6), rate)
    words = ["predict", "mixed", "--format", "json"]  # a path that begins where the command was called
    cluster = process(registry, *words, "--engine", "ray", "--workers", "2")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        here = run(registry, *words)
    out, err = cluster.communicate(timeout=300)
    assert cluster.returncode == here.code == 1  # one clip cannot be read
    said = [line for line in err.splitlines() if not line.startswith("[")]  # Ray's own, from below Python
    assert said == here.err.splitlines()
    assert "dashboard" not in err
    assert len(here.json) == 41  # more than one worker is handed at once
    assert [one["heard"] for one in here.json if "windows" in one] == [[0, 3]]
    assert out == here.out


def working(process: "subprocess.Popen[str]") -> int:
    """Return the process of a worker that has been given work, as soon as there is one."""
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        for place in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if place.joinpath("cmdline").read_bytes().startswith(b"ray::_Worker.do") and is_below(
                    place, process.pid
                ):
                    return int(place.name)
        time.sleep(0.05)
    raise AssertionError("no worker was given work")


def is_below(place: Path, ancestor: int) -> bool:
    """Return whether a process is one that another one started, or that one of these started."""
    for _ in range(6):
        parent = place.joinpath("stat").read_text().rpartition(")")[2].split()[1]
        if int(parent) == ancestor:
            return True
        place = Path("/proc", parent)
    return False


@pytest.mark.slow
@needs_ray
@pytest.mark.skipif(sys.platform != "linux", reason="/proc says which workers there are")
def test_two_workers_make_the_registry_of_one_process_though_one_is_killed(
    data: Path, quick: list[object], process: Start, run: Run, tmp_path: Path
) -> None:
    words = ["stream", *(data / task for task in ("tones", "noises", "chirps")), *quick, "--method", "bottleneck:r=2"]
    cluster = process(tmp_path / "cluster", *words, "--engine", "ray", "--workers", "2")
    os.kill(working(cluster), signal.SIGKILL)
    _, err = cluster.communicate(timeout=300)
    assert cluster.returncode == 0, err
    assert "a Ray worker died and was replaced" in err
    run(tmp_path / "here", *words).fine()
    assert contents(tmp_path / "cluster") == contents(tmp_path / "here")


@pytest.mark.slow
@needs_ray
def test_cells_of_a_comparison_on_two_workers(
    data: Path, backbone: Path, process: Start, run: Run, tmp_path: Path
) -> None:
    words = ["compare", data / "tones", "--methods", "linear lora:r=2", "--seeds", 2, "--backbone", backbone]
    words += ["--epochs", 2, "--format", "json"]
    cluster = process(tmp_path / "cluster", *words, "--engine", "ray", "--workers", "2")
    out, err = cluster.communicate(timeout=300)
    assert cluster.returncode == 0, err
    rows = [json.loads(out), run(tmp_path / "here", *words).fine().json]
    for row in rows[0] + rows[1]:
        del row["seconds"]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("command", ["predict", "stream", "compare", "baselines"])
def test_without_ray(cl: Run, data: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    refused = cl(command, data / "tones", "--engine", "ray")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err == "cl-ast: Ray is not installed; pip install 'cl-ast[ray]', or leave out --engine\n"


@pytest.mark.parametrize("command", ["predict", "stream", "compare", "baselines"])
def test_workers_are_of_a_cluster(cl: Run, data: Path, command: str) -> None:
    answer = cl(command, data / "tones", "--workers", "2")
    assert answer.code == 2
    assert "--workers needs --engine ray" in answer.err


def test_a_launcher_has_processes_of_its_own(cl: Run, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    answer = cl("stream", data / "tones", "--engine", "ray")
    assert answer.code == 2
    assert "leave out --engine, or the launcher" in answer.err


# Starts a cluster as `predict --engine ray` does, and prints where its processes listen and who is answered.
STRANGER = """
import json, os, subprocess, sys
from pathlib import Path
from cl_ast.cluster.predicting import Cluster, Place

def parent(pid):
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0

def sockets(pid):
    try:
        return {os.readlink(file) for file in Path(f"/proc/{pid}/fd").iterdir()}
    except OSError:
        return set()

with Cluster(Place("nowhere", None, "cpu", Path.cwd())):
    import ray
    own = {os.getpid()}
    for _ in range(5):
        own |= {int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and parent(p.name) in own}
    files = set().union(*map(sockets, own))
    rows = [row.split() for kind in ("tcp", "tcp6") for row in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]]
    listens = [row[1].split(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in files]
    ask = (
        "import sys; from ray._raylet import GcsClient; "
        "print(len(GcsClient(address=sys.argv[1]).internal_kv_keys(b'', None, timeout=10)))"
    )
    address = ray.get_runtime_context().gcs_address
    plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    answers = {}
    for name, token in {"none": "", "wrong": "0" * 64, "right": os.environ["RAY_AUTH_TOKEN"]}.items():
        env = plain | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token} if token else plain
        done = subprocess.run([sys.executable, "-c", ask, address], env=env, capture_output=True, text=True, timeout=60)
        answers[name] = done.stdout or done.stderr.strip().splitlines()[-1]
    print(json.dumps({"listens": listens, "answers": answers, "address": address}))
"""
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def without_ray_settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}


@pytest.mark.slow
@needs_ray
@pytest.mark.skipif(sys.platform != "linux", reason="/proc says who listens")
def test_a_cluster_that_is_started_here_answers_nobody_else(tmp_path: Path) -> None:
    env = without_ray_settings() | {"HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", STRANGER], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found["listens"]) >= 3 and set(found["listens"]) <= LOOPBACK
    assert found["address"].startswith("127.0.0.1:")
    assert "AuthenticationError" in found["answers"]["none"] and "AuthenticationError" in found["answers"]["wrong"]
    assert int(found["answers"]["right"]) >= 0
    assert not (tmp_path / ".ray").exists()  # where Ray would write a token that all can read


FAKE = """
import json, os
__version__ = {version!r}
def init(**options):
    settings = {{name: value for name, value in os.environ.items() if name.startswith("RAY_")}}
    with open({said!r}, "w") as file:
        json.dump([options, settings], file)
    raise ConnectionError("this is no Ray")
"""


def asked(tmp_path: Path, version: str = "2.52.1", first: str = "", **settings: str) -> tuple[str, Any]:
    """Return the error of a cluster with a stand-in for Ray, and with what Ray was started."""
    said = tmp_path / "said.json"
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "__init__.py").write_text(FAKE.format(version=version, said=str(said)))
    (tmp_path / "ray" / "data.py").write_text("")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {first}\n"
        "from pathlib import Path; from cl_ast.cluster.predicting import Cluster, Place\n"
        "from cl_ast.errors import ClAstError\n"
        "try: Cluster(Place('nowhere', None, 'cpu', Path()))\n"
        "except ClAstError as error: print(error)"
    )
    env: Mapping[str, str] = without_ray_settings() | settings
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), json.loads(said.read_text()) if said.exists() else None


def test_one_that_is_started_here_has_a_new_token_and_is_on_loopback(tmp_path: Path) -> None:
    error, (options, settings) = asked(tmp_path)
    assert "cannot be reached: this is no Ray" in error
    assert (options["address"], options["_node_ip_address"]) == ("local", "127.0.0.1")
    assert options["include_dashboard"] is False
    assert settings["RAY_AUTH_MODE"] == "token" and re.fullmatch("[0-9a-f]{64}", settings["RAY_AUTH_TOKEN"])


def test_that_of_the_user_is_as_they_say(tmp_path: Path) -> None:
    _, (options, settings) = asked(tmp_path, RAY_ADDRESS="head.example:6379", RAY_AUTH_TOKEN_PATH="/their/token")
    assert not {"address", "_node_ip_address"} & set(options)
    assert not {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN"} & set(settings)


@pytest.mark.parametrize(
    ("version", "first", "said"),
    [("2.40.0", "", "Ray 2.40.0 runs code of anybody"), ("2.52.1", "import ray", "set RAY_AUTH_MODE=token first")],
)
def test_one_without_a_token_is_not_started(tmp_path: Path, version: str, first: str, said: str) -> None:
    error, started = asked(tmp_path, version, first)
    assert said in error and started is None


def test_the_extra_asks_for_a_release_that_can_demand_a_token() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (wanted,) = project["optional-dependencies"]["ray"]
    floor = re.fullmatch(r"ray\[data\]>=(\d+)\.(\d+)(\.\d+)?", wanted)
    assert floor and (int(floor[1]), int(floor[2])) >= (2, 52)

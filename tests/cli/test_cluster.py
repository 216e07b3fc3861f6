"""`--engine ray`: a cluster on this machine gives the answers and makes the registry of one process."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import soundfile

from registry import Registry
from tests.cli.conftest import MakeFolder, Run, contents

# Starts a cluster as `--engine ray` does, prints where its processes listen and who is answered, and keeps it.
HOST = """
import json, os, subprocess, sys
from pathlib import Path
from cl_ast.cluster import starting

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

def listening():
    own = {os.getpid()}
    for _ in range(5):
        own |= {int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and parent(p.name) in own}
    files = set().union(*map(sockets, own))
    rows = [row.split() for kind in ("tcp", "tcp6") for row in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]]
    return [row[1].split(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in files]

def asking(token):
    ask = (
        "import sys; from ray._raylet import GcsClient; "
        "print(len(GcsClient(address=sys.argv[1]).internal_kv_keys(b'', None, timeout=10)))"
    )
    plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    env = plain | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token} if token else plain
    return subprocess.Popen([sys.executable, "-c", ask, address], env=env, stdout=-1, stderr=-2, text=True)

ray = starting.imported("cpu")
starting.start(ray)
address, token = ray.get_runtime_context().gcs_address, os.environ["RAY_AUTH_TOKEN"]
asked = {"none": asking(""), "wrong": asking("0" * 64), "right": asking(token)}
answers = {name: one.communicate(timeout=60)[0].strip().splitlines()[-1] for name, one in asked.items()}
listens = listening() if sys.platform == "linux" else []
print(json.dumps({"listens": listens, "answers": answers, "address": address, "token": token}), flush=True)
sys.stdin.read()
ray.shutdown()
"""
ROOT = str(Path(__file__).parents[2])
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def without_ray_settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}


@dataclass(frozen=True)
class Started:
    """A cluster on this machine.

    Attributes:
        process: the number of the process that started it.
        found: what it printed.
    """

    process: int
    home: Path
    found: Mapping[str, Any]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """A cluster for all tests of this file, since starting one takes seconds."""
    home = tmp_path_factory.mktemp("home")
    # Ray's first workers would be of no use: those of `--engine ray` have an environment of their own.
    env = without_ray_settings() | {"HOME": str(home), "RAY_prestart_worker_first_driver": "0"}
    with subprocess.Popen(
        [sys.executable, "-c", HOST], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as host:
        assert host.stdin is not None and host.stdout is not None
        line = host.stdout.readline()
        assert line, "the cluster did not start"
        yield Started(host.pid, home, json.loads(line))
        host.stdin.close()


@pytest.fixture
def cluster(started: Started) -> Iterator[Started]:
    """The cluster, which `--engine ray` finds."""
    own = {"RAY_ADDRESS": started.found["address"], "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": started.found["token"]}
    # With 0 Ray leaves the loopback address as it is; it reads this when it is imported. Ray and our code add to these.
    with patch.dict(os.environ, {**own, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}):
        yield started


@pytest.mark.slow
def test_a_cluster_that_is_started_here_answers_nobody_else(started: Started) -> None:
    found = started.found
    if sys.platform == "linux":  # /proc says who listens
        assert len(found["listens"]) >= 3 and set(found["listens"]) <= LOOPBACK
    assert found["address"].startswith("127.0.0.1:")
    assert "AuthenticationError" in found["answers"]["none"] and "AuthenticationError" in found["answers"]["wrong"]
    assert int(found["answers"]["right"]) >= 0
    assert not (started.home / ".ray").exists()  # where Ray would write a token that all can read


@pytest.mark.slow
def test_a_worker_answers_as_one_process_does(
    cluster: Started, registry: Path, data: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mixed"
    for task in ("tones", "noises"):
        shutil.copytree(data / task, folder / task)
    (folder / "tones" / "broken.wav").write_bytes(b"no sound")
    samples, rate = soundfile.read(data / "tones" / "low" / "00.wav")
    soundfile.write(folder / "tones" / "long.wav", np.tile(samples, 6), rate)
    monkeypatch.chdir(tmp_path)
    words = ["predict", "mixed", "--format", "json"]  # a path that begins where the command was called
    there, here = run(registry, *words, "--engine", "ray", "--workers", 1), run(registry, *words)
    assert there.code == here.code == 1  # one clip cannot be read
    assert there.err == here.err
    answers = there.json, here.json
    assert len(answers[1]) == 41  # more than a worker is handed at once
    assert [one["heard"] for one in answers[1] if "windows" in one] == [[0, 3]]
    # Which clips of different tasks share a batch depends on what a worker did before, and so do a score's last digits.
    scores = [[label.pop("score") for one in answer for label in one["labels"]] for answer in answers]
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)
    assert answers[0] == answers[1]


def kill_a_worker(cluster: Started) -> None:
    """Kill a worker that has been given work, as soon as there is one."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        for place in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if place.joinpath("cmdline").read_bytes().startswith(b"ray::_Worker.do") and is_below(
                    place, cluster.process
                ):
                    os.kill(int(place.name), signal.SIGKILL)
                    return
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
@pytest.mark.skipif(sys.platform != "linux", reason="/proc says which workers there are")
def test_two_workers_make_the_registry_of_one_process_though_one_is_killed(
    cluster: Started, stage: MakeFolder, data: Path, quick: list[object], run: Run
) -> None:
    there, here = stage("tones", "there"), stage("tones", "here")
    words = ["stream", data / "noises", data / "chirps", *quick, "--method", "bottleneck:r=2"]
    with ThreadPoolExecutor(1) as threads:
        killing = threads.submit(kill_a_worker, cluster)
        answer = run(there, *words, "--engine", "ray", "--workers", 2).fine()
        killing.result()
    assert "a Ray worker died and was replaced" in answer.err
    run(here, *words).fine()
    assert contents(there) == contents(here)
    with Registry.open(there) as registry:
        assert [len(registry.versions(task.name)) for task in registry.tasks()] == [1, 1, 1]


@pytest.mark.slow
def test_cells_of_a_comparison_on_a_worker(
    cluster: Started, data: Path, backbone: Path, run: Run, tmp_path: Path
) -> None:
    words = ["compare", data / "tones", "--methods", "linear lora:r=2", "--seeds", 2, "--backbone", backbone]
    words += ["--epochs", 2, "--format", "json"]
    there = run(tmp_path / "there", *words, "--engine", "ray", "--workers", 1).fine().json
    here = run(tmp_path / "here", *words).fine().json
    for row in there + here:
        del row["seconds"]
    assert there == here


@pytest.mark.parametrize("command", ["predict", "stream", "compare", "baselines"])
def test_without_ray(cl: Run, data: Path, command: str) -> None:
    with patch.dict(sys.modules, {"ray": None}), patch.dict(os.environ):
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


FAKE = """
import json, os
__version__ = {version!r}
def init(**options):
    settings = {{name: value for name, value in os.environ.items() if name.startswith(("RAY_", "PYTHONPATH"))}}
    with open({said!r}, "w") as file:
        json.dump([options, settings], file)
    raise ConnectionError("this is no Ray")
"""


def asked(tmp_path: Path, version: str = "2.52.1", first: str = "", **settings: str) -> tuple[str, Any]:
    """Return the error of a cluster with a stand-in for Ray, and with what Ray was started."""
    said = tmp_path / "said.json"
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "__init__.py").write_text(FAKE.format(version=version, said=str(said)))
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {first}\n"
        "from cl_ast.cluster import starting\n"
        "from cl_ast.errors import ClAstError\n"
        "try: starting.start(starting.imported('cpu'))\n"
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
    assert settings["PYTHONPATH"].split(os.pathsep)[0] == ROOT  # which workers inherit
    assert "runtime_env" not in options  # for which Ray starts each worker twice
    assert settings["RAY_AUTH_MODE"] == "token" and re.fullmatch("[0-9a-f]{64}", settings["RAY_AUTH_TOKEN"])


def test_that_of_the_user_is_as_they_say(tmp_path: Path) -> None:
    _, (options, settings) = asked(tmp_path, RAY_ADDRESS="head.example:6379", RAY_AUTH_TOKEN_PATH="/their/token")
    assert not {"address", "_node_ip_address"} & set(options)
    assert not {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN"} & set(settings)
    assert options["runtime_env"]["env_vars"]["PYTHONPATH"].split(os.pathsep)[0] == ROOT


@pytest.mark.parametrize(
    ("version", "first", "said"),
    [("2.40.0", "", "Ray 2.40.0 runs code of anybody"), ("2.52.1", "import ray", "set RAY_AUTH_MODE=token first")],
)
def test_one_without_a_token_is_not_started(tmp_path: Path, version: str, first: str, said: str) -> None:
    error, started = asked(tmp_path, version, first)
    assert said in error and started is None


@pytest.mark.slow
def test_the_extra_asks_for_a_release_that_can_demand_a_token() -> None:
    project = tomllib.loads(Path(ROOT, "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (wanted,) = project["optional-dependencies"]["ray"]
    floor = re.fullmatch(r"ray\[serve\]>=(\d+)\.(\d+)(\.\d+)?", wanted)
    assert floor and (int(floor[1]), int(floor[2])) >= (2, 52)

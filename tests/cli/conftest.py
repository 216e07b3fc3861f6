"""A tiny backbone, three tiny tasks, and a registry that has learned them: made once, copied for each test."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import cli
from tests.cli.forked import Forked
from tests.cli.sounds import SOUNDS, write_clips
from tests.once import described_once, made_once, measured_once

METHODS = {"tones": "linear", "noises": "bottleneck:r=2", "chirps": "linear"}


@dataclass(frozen=True)
class Answer:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def fine(self) -> "Answer":
        """Check that the command succeeded."""
        assert self.code == 0, self.err
        return self

    def refused(self, *words: str, code: int = 1) -> "Answer":
        """Check that the command failed, run with -q, and said so in one clear line with these words."""
        assert self.code == code, self
        assert len(self.err.splitlines()) == 1, self.err
        assert self.err.startswith("cl-ast: ")
        assert "unexpected" not in self.err
        assert "Traceback" not in self.err
        for word in words:
            assert word in self.err
        return self


Run = Callable[..., Answer]  # `run`, and `cl`, which needs no registry
MakeFolder = Callable[..., Path]
Start = Callable[..., "subprocess.Popen[str]"]
Fork = Callable[..., Forked]
Unchanged = Callable[[Path], AbstractContextManager[None]]


@pytest.fixture(scope="session", autouse=True)
def _offline() -> Iterator[None]:
    """No question to the hub; set before anything reads it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("TRANSFORMERS_OFFLINE", "1")
        yield


@pytest.fixture(scope="session", autouse=True)
def _router_spaces(_offline: None, shared: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        measured_once(shared, patch.setattr)
        described_once(patch.setattr)
        yield


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the user's own."""
    monkeypatch.delenv("CL_AST_REGISTRY", raising=False)
    monkeypatch.delenv("CL_AST_CACHE", raising=False)
    monkeypatch.delenv("CL_AST_CACHE_GB", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user-data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))


def _run(registry: Path, *words: object, stdin: bytes | None = None) -> Answer:
    arguments = ["--registry", str(registry), "--device", "cpu", *map(str, words)]
    result = CliRunner().invoke(cli.main, arguments, input=stdin, prog_name="cl-ast")
    return Answer(result.exit_code, result.stdout, result.stderr)


def _save_backbone(folder: Path, seed: int) -> Path:
    import torch
    from transformers import ASTConfig, ASTModel

    config = ASTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        frequency_stride=16,
        time_stride=16,
        max_length=64,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        ASTModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def backbone(shared: Path) -> Path:
    """A seeded AST of two narrow layers, as a folder in transformers' format."""
    return made_once(shared / "tiny", lambda folder: _save_backbone(folder, seed=0))


@pytest.fixture(scope="session")
def other_backbone(shared: Path) -> Path:
    """The same with other weights."""
    return made_once(shared / "other", lambda folder: _save_backbone(folder, seed=1))


@pytest.fixture(scope="session")
def data(shared: Path) -> Path:
    """A folder with the folders of labelled clips `tones`, `noises` and `chirps`; not to be changed."""

    def make(root: Path) -> None:
        for seed, (task, sounds) in enumerate(SOUNDS.items()):
            write_clips(root / task, sounds, seed=seed)

    return made_once(shared / "data", make)


@pytest.fixture
def clips(tmp_path: Path) -> MakeFolder:
    """clips(name="clips", clips=10): a new folder of labelled tones, to be changed at will."""

    def make(name: str = "clips", clips: int = 10) -> Path:
        return write_clips(tmp_path / name, SOUNDS["tones"], clips, seed=7)

    return make


@pytest.fixture(scope="session")
def quick(backbone: Path) -> list[object]:
    """Options that learn in a moment over the tiny backbone."""
    return ["--backbone", backbone, "--epochs", 2, "--method", "linear"]


@pytest.fixture
def short_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo with two classes of each task in place of four, with fewer clips, learned in one epoch."""
    from cl_ast.terminal import demo_story
    from cl_ast.training.options import TrainOptions

    tasks = tuple(replace(task, makers=dict(islice(task.makers.items(), 2))) for task in demo_story.TASKS)
    monkeypatch.setattr(demo_story, "TASKS", tasks)
    monkeypatch.setattr(demo_story, "OPTIONS", TrainOptions(epochs=1, batch_size=16))
    monkeypatch.setattr(demo_story, "_CLIPS_A_CLASS", 8)


@pytest.fixture(scope="session")
def stages(tmp_path_factory: pytest.TempPathFactory, shared: Path, data: Path, backbone: Path) -> Mapping[str, Path]:
    """A registry after each task, by the task learned last; not to be changed.

    Each process has its own copies: one may not copy what another one has open.
    """

    def make(root: Path) -> None:
        before = None
        for task, method in METHODS.items():
            home = root / task
            if before:
                shutil.copytree(before, home)
            _run(home, "add-task", data / task, "--method", method, "--epochs", 2, "--backbone", backbone).fine()
            before = home

    root = shutil.copytree(made_once(shared / "stages", make), tmp_path_factory.mktemp("stages") / "of-this-process")
    return {task: root / task for task in METHODS}


@pytest.fixture
def stage(stages: Mapping[str, Path], tmp_path: Path) -> MakeFolder:
    """stage("noises", "copy"): a copy of the registry as it was after that task."""

    def copy(task: str, name: str = "stage") -> Path:
        return Path(shutil.copytree(stages[task], tmp_path / name))

    return copy


@pytest.fixture
def registry(stage: MakeFolder) -> Path:
    """A registry of this test's own that has learned all three tasks."""
    return stage("chirps", "registry")


@pytest.fixture(scope="session")
def run() -> Run:
    """run(registry, "tasks", "--format", "json"): the command line, in this process."""
    return _run


@pytest.fixture
def cl(registry: Path) -> Run:
    """cl("tasks", stdin=None): the same over `registry`."""
    return lambda *words, stdin=None: _run(registry, *words, stdin=stdin)


@pytest.fixture
def process(tmp_path: Path) -> Start:
    """process(registry, "add-task", …, first="python code"): the command line in a process that the system starts.

    This takes seconds: `fork` does for whatever is not about how Python itself starts.
    """

    def start(registry: Path, *words: object, first: str = "", **how: Any) -> subprocess.Popen[str]:
        code = f"import sys\n{first}\nimport cli\ncli.main(prog_name='cl-ast')"
        return subprocess.Popen(
            [sys.executable, "-P", "-c", code, "--registry", registry, "--device", "cpu", *map(str, words)],
            cwd=tmp_path,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **how,
        )

    return start


@pytest.fixture
def fork(tmp_path: Path, shared: Path) -> Fork:
    """fork(registry, "add-task", …, first="python code", stdout=descriptor): a `Forked`, which starts at once."""
    once = f"from pathlib import Path\nfrom tests.once import measured_once\nmeasured_once(Path({str(shared)!r}))\n"

    def start(registry: Path, *words: object, first: str = "", **how: Any) -> Forked:
        if os.name != "posix":
            pytest.skip("no process can be forked")
        options = ("--registry", registry, "--device", "cpu")
        return Forked(*options, *words, first=once + first, **{"cwd": tmp_path, **how})

    return start


def contents(registry: Path) -> list[tuple[object, ...]]:
    """Return the numbers, trainings, measurements and history of all tasks of a registry, without times."""
    from safetensors.torch import load

    from cl_ast.manager import Manager

    found: list[tuple[object, ...]] = []
    with Manager.open(registry, create=False) as manager:
        for task in manager.registry.tasks():
            tensors = load(manager.registry.read_adapter(task.version))
            numbers = {name: (tensor.dtype, tensor.tolist()) for name, tensor in sorted(tensors.items())}
            version = task.version
            found.append((task.name, task.labels, version.method, version.source, version.training, numbers))
        report = manager.stats()
    return [*found, (report["matrix"], report["routing"], report["metrics"])]


def _state(registry: Path) -> tuple[object, ...]:
    """All that a registry holds: what it says of itself, and every file but for SQLite's own helpers."""
    files = {
        path.relative_to(registry).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in registry.rglob("*")
        if path.is_file() and path.name.partition("-")[0] != "registry.db"
    }
    return _run(registry, "tasks", "--format", "json").json, _run(registry, "stats", "--format", "json").json, files


@pytest.fixture
def unchanged() -> Unchanged:
    """with unchanged(registry): nothing in the block may change what the registry holds."""

    @contextmanager
    def check(registry: Path) -> Iterator[None]:
        before = _state(registry)
        yield
        after = _state(registry)
        # The size of the log beside the database is no change.
        for state in (before, after):
            state[1]["storage"].pop("database_bytes", None)  # type: ignore[index]
        assert after == before

    return check

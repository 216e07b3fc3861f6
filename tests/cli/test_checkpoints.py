"""Trainings that were stopped: what is said of their checkpoints, which is kept, and what goes on from one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cl_ast.training.checkpoint import Checkpoint
from tests.cli.conftest import Answer, MakeFolder, Run

pytestmark = pytest.mark.slow


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "user-cache" / "cl-ast" / "training"


@pytest.fixture(autouse=True)
def _saves_each_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = Checkpoint.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "every", 0)


@pytest.fixture
def stopped_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """stopped_after(3): Ctrl-C comes when the third epoch was saved; 0: never."""
    save = Checkpoint.save

    def patch(last: int) -> None:
        def save_and_stop(self: Checkpoint, *state: object) -> None:
            save(self, *state)  # type: ignore[arg-type]
            if state[3] == last:
                raise KeyboardInterrupt

        monkeypatch.setattr(Checkpoint, "save", save_and_stop)

    return patch


def test_a_stopped_training_is_said_and_kept(
    run: Run, tmp_path: Path, clips: MakeFolder, quick: list[object], cache: Path, stopped_after: Callable[[int], None]
) -> None:
    registry, data = tmp_path / "registry", clips()

    def add(*more: object) -> Answer:
        return run(registry, "-q", "add-task", data, *quick, "--epochs", 6, "--no-eval", *more)

    stopped_after(3)
    assert "checkpoint" not in add().err
    (saved,) = cache.iterdir()
    before = saved.read_bytes()
    assert cache.stat().st_mode & 0o077 == 0

    stopped_after(2)
    said = add().err
    assert "cl-ast: a checkpoint of 3 epochs of this training is there: stop (Ctrl-C) and add --resume" in said
    assert saved.read_bytes() == before  # kept, as this run came to the second epoch only

    stopped_after(1)
    assert "checkpoint of" not in add("--lr", 0.5).err  # another training, with a file of its own
    assert len(list(cache.iterdir())) == 2 and saved.read_bytes() == before

    stopped_after(0)
    assert "other options" in add("--lr", 0.25, "--resume").err
    assert add("--resume").fine().err == ""
    assert not saved.exists() and len(list(cache.iterdir())) == 1
    task = run(registry, "show", "clips", "--format", "json").fine().json
    assert [one["epoch"] for one in task["versions"][0]["training"]["curve"]] == list(range(7))


def test_relearn_goes_on_where_it_was_stopped(
    run: Run, registry: Path, backbone: Path, tmp_path: Path, cache: Path, stopped_after: Callable[[int], None]
) -> None:
    words = ["-q", "relearn", "tones", "--to", tmp_path / "other", "--backbone", backbone]
    stopped_after(1)
    run(registry, *words)
    (saved,) = cache.iterdir()
    epochs: list[object] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "save", lambda self, *state: epochs.append(state[3]))
        run(registry, *words).fine()
    assert epochs == []  # of two epochs the first was there, and the last is not saved
    assert not saved.exists()


def test_no_cache_is_one_line_and_no_reason_to_fail(
    run: Run, tmp_path: Path, clips: MakeFolder, quick: list[object], cache: Path
) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text("not a folder")
    data = clips()
    words = ["-q", "add-task", data, *quick, "--epochs", 3, "--no-eval"]
    (line,) = run(tmp_path / "registry", *words).fine().err.splitlines()
    assert "the training goes on without checkpoints" in line and str(cache) in line

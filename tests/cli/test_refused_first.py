"""What can be checked is checked before the work: no training and no measuring is lost to something known before."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.cli.conftest import Fork, Run
from tests.cli.test_processes import WITHOUT_ROOT_RIGHTS

QUICK = ["--method", "linear", "--epochs", 1]


def _refused(run: Run, home: Path, *words: object, says: tuple[str, ...] = ()) -> None:
    """The command fails with these words, and nothing was trained or measured for it."""
    answer = run(home, *words)
    assert answer.code == 1, answer
    assert "training" not in answer.err and "measuring" not in answer.err
    assert "Traceback" not in answer.err
    for word in says:
        assert word in answer.err


@pytest.mark.parametrize("name", ["nowhere/plot.png", "plot", "plot.docx", ".", "plot.png/plot.png"])
def test_a_plot_that_cannot_be_written(run: Run, registry: Path, data: Path, tmp_path: Path, name: str) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "plot.png").write_bytes(b"")
    plot = ["--plot", tmp_path / name]
    _refused(run, registry, "compare", data / "tones", "--methods", "linear", "--epochs", 1, *plot, says=("plot",))
    _refused(run, registry, "stats", *plot, says=("plot",))


@pytest.mark.slow
def test_a_plot_that_fails_all_the_same_loses_no_table(
    run: Run, registry: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyplot = pytest.importorskip("matplotlib.figure")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pyplot.Figure, "savefig", full)
    words = ["compare", data / "tones", "--methods", "linear", "--epochs", 1, "--plot", tmp_path / "plot.png"]
    answer = run(registry, *words)
    assert answer.code == 1
    assert "linear" in answer.out and "cannot be written" in answer.err


def test_two_tasks_of_one_name_in_a_stream(run: Run, data: Path, backbone: Path, tmp_path: Path) -> None:
    import shutil

    other = shutil.copytree(data / "tones", tmp_path / "Tones")
    words = ["stream", data / "tones", other, "--backbone", backbone, *QUICK]
    _refused(run, tmp_path / "home", *words, says=("two tasks are called", str(other), "--name"))


def test_a_name_that_is_taken_later_in_a_stream(run: Run, registry: Path, clips: object, data: Path) -> None:
    words = ["stream", clips("fresh"), data / "tones", *QUICK]  # type: ignore[operator]
    _refused(run, registry, *words, says=("tones", "--replace"))
    assert "fresh" not in run(registry, "tasks").fine().out


@pytest.mark.parametrize(
    ("label", "says"),
    [("x" * 1_001, "1,000 characters"), ("line\0", "text"), ("caf\udce9", "UTF-8"), ("\udcff\udcfe", "UTF-8")],
    ids=["long", "null", "latin-1", "bytes"],
)
def test_a_label_that_cannot_be_kept(run: Run, backbone: Path, tmp_path: Path, label: str, says: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    rows = ["file,label"]
    for number in range(24):
        soundfile.write(folder / f"{number}.wav", 0.1 * np.random.default_rng(number).normal(size=8_000), 16_000)
        rows.append(f"{number}.wav,{label if number % 2 else 'other'}")
    (folder / "metadata.csv").write_bytes("\n".join(rows).encode("utf-8", "surrogateescape"))
    _refused(run, tmp_path / "home", "add-task", folder, "--backbone", backbone, *QUICK)


def test_a_class_folder_whose_name_is_no_text(run: Run, backbone: Path, data: Path, tmp_path: Path) -> None:
    import shutil

    folder = shutil.copytree(data / "tones", tmp_path / "data")
    (folder / "low").rename(os.fsdecode(os.fsencode(folder) + b"/caf\xe9"))
    _refused(run, tmp_path / "home", "add-task", folder, "--backbone", backbone, *QUICK, says=("UTF-8",))


@pytest.mark.skipif(os.name != "posix", reason="permissions are another matter")
@pytest.mark.parametrize("command", ["evaluate", "route"])
def test_a_registry_that_cannot_be_written(registry: Path, fork: Fork, command: str) -> None:
    folders = [registry, registry / "adapters"]
    for folder in folders:
        folder.chmod(0o555)
    try:
        refused = fork(registry, command, first=WITHOUT_ROOT_RIGHTS)
        out, err = refused.communicate(timeout=120)
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert refused.returncode == 1
    assert "cannot be written by you" in err and "measuring" not in err and "learning" not in err
    assert out == ""


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks the hub for anything, even in offline mode, fails the test."""
    import transformers

    def fetched(*_: object, **__: object) -> None:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("cl_ast.backbone.pretrained._config", fetched)
    monkeypatch.setattr("cl_ast.backbone.pretrained._pretrained", fetched)
    monkeypatch.setattr("cl_ast.backbone.pretrained._hub_has", fetched)
    monkeypatch.setattr(transformers.PretrainedConfig, "get_config_dict", fetched)


@pytest.mark.parametrize(
    "words",
    [["add-task", "DATA"], ["stream", "DATA"], ["compare", "DATA"], ["predict", "DATA"], ["import", "DATA"]],
    ids=lambda words: words[0],
)
@pytest.mark.usefixtures("no_hub")
def test_another_backbone_is_refused_at_once(
    run: Run, registry: Path, data: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object, **__: object) -> None:
        raise AssertionError("clips were looked at")

    monkeypatch.setattr("streams.load", read)
    monkeypatch.setattr("cl_ast.audio.windows.segments", read)
    given = [data / "tones" if word == "DATA" else word for word in words]
    for name in ("ast-base", "somebody/else"):
        answer = run(registry, "-q", *given, "--backbone", name)
        answer.refused("made with the backbone", f"{name} is another", "leave out --backbone", "cl-ast relearn --to")


def test_another_router_is_refused_at_once(
    run: Run, registry: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object, **__: object) -> None:
        raise AssertionError("clips were looked at")

    monkeypatch.setattr("streams.load", read)
    for command in ("add-task", "stream"):
        answer = run(registry, "-q", command, data / "tones", *QUICK, "--router", "ridge", "--no-eval")
        answer.refused("has the router discriminant", "ridge is another", "leave out --router")
    monkeypatch.undo()  # its own is no other
    run(registry, "-q", "add-task", data / "nowhere", "--router", "discriminant").refused("nowhere")


def test_from_python_a_router_is_refused_before_the_training(
    registry: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import streams
    from cl_ast import Manager, RegistryError

    task = streams.load(data / "tones", name="more")
    manager = Manager.open(registry, device="cpu", router="ridge")
    with manager, pytest.raises(RegistryError, match="has the router discriminant"):
        manager.add_task(task, method="linear", evaluate=False, progress=lambda step: pytest.fail(step.stage))


def test_nothing_is_made_where_nothing_is_learned(run: Run, tmp_path: Path, data: Path, backbone: Path) -> None:
    """Learning and importing make a registry; comparing does not, nor does learning from what is no data."""
    place = tmp_path / "none"
    run(place, "-q", "add-task", tmp_path / "nowhere", "--backbone", backbone).refused("nowhere")
    run(place, "-q", "stream", data / "tones", tmp_path / "nowhere", "--backbone", backbone).refused("nowhere")
    run(place, "-q", "rebuild", "--yes").refused("nothing to restore from")
    run(place, "-q", "backup", tmp_path / "copy").refused("there is no registry at")
    words = ["compare", data / "tones", "--methods", "linear", "--epochs", 1, "--backbone", backbone]
    assert "linear" in run(place, *words).fine().out
    run(place, "methods", "linear").fine()
    assert not place.exists() and not (tmp_path / "copy").exists()


def test_relearning_names_that_are_not_there_makes_no_registry(run: Run, registry: Path, tmp_path: Path) -> None:
    run(registry, "-q", "relearn", "nothing", "--to", tmp_path / "again").refused('no task "nothing"')
    assert not (tmp_path / "again").exists()


def test_a_backbone_that_moved_is_no_other(
    run: Run, registry: Path, backbone: Path, tmp_path: Path, data: Path
) -> None:
    import shutil

    moved = shutil.copytree(backbone, tmp_path / "moved")
    run(registry, "predict", data / "tones" / "low" / "00.wav", "--backbone", moved).fine()

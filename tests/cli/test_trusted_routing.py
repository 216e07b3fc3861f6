"""Whose routing is believed: that of tasks learned here, and of an import only once its routing is learned here."""

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from safetensors.torch import load, load_file, save_file
from torch import Tensor

from cl_ast.errors import ClAstError
from cl_ast.manager import Manager
from cl_ast.router import TaskRouting
from cl_ast.router.calibration import calibrate
from cl_ast.tasks.origin import as_imported
from cl_ast.tasks.task_file import to_bytes
from cl_ast.terminal.rendering.formats import as_json
from tests.cli.conftest import MakeFolder, Run, Unchanged

Change = Callable[[dict[str, Tensor]], None]
TASKS = ("tones", "noises", "chirps")


def imitating(exports: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return a task that draws the clips of all exported ones, with routing that passes every check.

    Its mean is theirs, and all its variance lies along theirs, so that no task leads by much any more, and the heads'
    confidence decides. Its calibrations make it as confident of every clip as can be.
    """
    means = torch.stack([one["router.centre"].double() for one in exports])
    mean = means.mean(dim=0)
    _, _, basis = torch.linalg.svd(means, full_matrices=False)
    factor = torch.zeros(64, len(mean), dtype=torch.float64)
    factor[-len(basis) :] = ((1 - mean.square().sum()) / len(basis)).sqrt() * basis
    low = calibrate(torch.linspace(-0.99, -0.98, 400))
    state = {"router.centre": mean.float(), "router.directions": factor.half(), "router.rest": torch.zeros(len(mean))}
    return {**exports[0], **state, "router.calibration": low, "router.sureness": low.clone()}


def confident(tensors: dict[str, Tensor]) -> None:
    tensors["head.weight"] = 1e4 * tensors["head.weight"].float()


def constant(tensors: dict[str, Tensor]) -> None:
    tensors["router.calibration"] = torch.full((101,), -2.0)


def huge(tensors: dict[str, Tensor]) -> None:
    tensors["head.weight"] = torch.full_like(tensors["head.weight"], 3e38, dtype=torch.float32)


def routed(run: Run, home: Path, data: Path) -> list[dict[str, Any]]:
    """Return the answers for all clips of all tasks, as JSON that has no NaN."""
    answer = run(home, "predict", data, "--format", "json").fine()
    found: list[dict[str, Any]] = json.loads(answer.out, parse_constant=lambda word: pytest.fail(word))
    return found


def rewritten(path: Path, changes: Mapping[str, Tensor], name: str) -> None:
    """Change tensors of an exported task, and call it something else."""
    data = path.read_bytes()
    words = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]["cl_ast"]
    save_file(
        {**load_file(path), **changes}, path, metadata={"cl_ast": json.dumps({**json.loads(words), "name": name})}
    )


@pytest.fixture(scope="module")
def exports(stages: Mapping[str, Path], run: Run, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The exported folders of the three tasks; not to be changed."""
    root = tmp_path_factory.mktemp("exports")
    for task in TASKS:
        run(stages["chirps"], "export", task, root / task).fine()
    return {task: root / task for task in TASKS}


@pytest.fixture(scope="module")
def mimic(exports: Mapping[str, Path]) -> dict[str, Tensor]:
    """The tensors of a task that imitates all three."""
    files = [load_file(folder / "adapter_model.safetensors") for folder in exports.values()]
    own = imitating(files)
    confident(own)
    return own


def commit(home: Path, name: str, change: Change, *, new: str = "", imported: bool = False) -> None:
    """Commit a task with changed tensors, by another name or as its next version.

    A colleague might do that, and an older cl-ast did it with what it imported.
    """
    with Manager.open(home, device="cpu") as manager:
        version = manager.registry.task(name).version
        stored = manager.session.task(name)
        tensors = {f"router.{key}": tensor for key, tensor in stored.router.items()} | stored.model.head
        change(tensors)
        stored.model.head.update({key: tensor for key, tensor in tensors.items() if key.startswith("head.")})
        stored.model.stored = {}
        routing = {key.removeprefix("router."): t for key, t in tensors.items() if key.startswith("router.")}
        data = to_bytes(stored.model, manager.backbone, {}, routing)
        source = as_imported(version.source) if imported else version.source
        manager.registry.commit(new or name, data, replace(version.facts(), source=source), replace=True)


# What an import is worth before it was calibrated here


@pytest.mark.slow
def test_an_import_that_imitates_all_tasks_draws_no_clip(
    registry: Path, stage: MakeFolder, run: Run, data: Path, exports: Mapping[str, Path], mimic: dict[str, Tensor],
    tmp_path: Path,
) -> None:  # fmt: skip
    home = stage("chirps", "attacked")
    before = routed(run, home, data)
    believed = run(home, "import", exports["tones"], "--name", "mimic").fine()
    assert "mimic answers by name only" in believed.err and "`cl-ast route mimic --with DIR`" in believed.err
    file = tmp_path / "bad" / "adapter_model.safetensors"
    for name, change in (("imitates", confident), ("constant", constant), ("huge", huge)):
        tensors = dict(mimic)
        change(tensors)
        run(registry, "export", "tones", file.parent).fine()
        rewritten(file, tensors, name)
        run(home, "import", file.parent).fine()
        for path in file.parent.iterdir():
            path.unlink()
    assert routed(run, home, data) == before
    assert run(home, "predict", data, "--all", "--format", "json").fine().json
    listed = {row["name"]: row["by_name_only"] for row in run(home, "tasks", "--format", "json").fine().json}
    assert listed == dict.fromkeys(TASKS, False) | dict.fromkeys(("mimic", "imitates", "constant", "huge"), True)
    assert "by name only, until `cl-ast route TASK --with DIR`: mimic, imitates" in run(home, "tasks").fine().out
    assert "by name only" in run(home, "show", "mimic").fine().out


@pytest.mark.slow
def test_the_same_routing_draws_clips_where_it_is_believed(
    registry: Path, run: Run, data: Path, mimic: dict[str, Tensor]
) -> None:
    """So the attack is one. Its routing passes every check: no check can tell it from what clips have taught."""
    with Manager.open(registry, device="cpu") as manager:
        tensors = {key.removeprefix("router."): t for key, t in mimic.items() if key.startswith("router.")}
        TaskRouting.from_tensors(tensors, manager.session.routing.space.dimensions)
    commit(registry, "tones", believing(mimic), new="mimic")
    found = [one for one in routed(run, registry, data) if one["task"] == "mimic"]
    assert len(found) > 20 and all(one["known"] for one in found)


def believing(mimic: Mapping[str, Tensor]) -> Change:
    return lambda tensors: tensors.update({key: mimic[key] for key in tensors})


@pytest.mark.slow
def test_routing_that_an_older_release_imported_is_not_used(
    registry: Path, run: Run, data: Path, mimic: dict[str, Tensor]
) -> None:
    commit(registry, "tones", believing(mimic), imported=True)
    answer = run(registry, "predict", data, "--format", "json").fine()
    assert {one["task"] for one in answer.json} == {"noises", "chirps"}
    (line,) = answer.err.splitlines()
    assert line.startswith("cl-ast: tones was imported with routing of its own, which is not used")
    dropped = run(registry, "-q", "route")
    assert dropped.code == 1
    assert "tones answers by name only: it was imported" in dropped.err.splitlines()[-1]
    assert "`cl-ast route tones --with DIR`" in dropped.err.splitlines()[-1]
    assert run(registry, "predict", data, "--format", "json").fine().err == ""  # it is dropped, and said no more


# Calibrated here


@pytest.fixture(scope="module")
def with_import(
    stages: Mapping[str, Path], run: Run, exports: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    home = shutil.copytree(stages["tones"], tmp_path_factory.mktemp("with-import") / "registry")
    run(home, "import", exports["chirps"]).fine()
    return home


@pytest.fixture
def imported(with_import: Path, tmp_path: Path) -> Path:
    """A registry that learned tones, and imported chirps."""
    return Path(shutil.copytree(with_import, tmp_path / "imported"))


@pytest.fixture
def unlabelled(tmp_path: Path, data: Path) -> Path:
    """The clips of chirps in one folder, without labels."""
    folder = tmp_path / "unlabelled"
    folder.mkdir()
    for path in sorted((data / "chirps").rglob("*.wav")):
        (folder / f"{path.parent.name}-{path.name}").write_bytes(path.read_bytes())
    return folder


def tensors_of(home: Path, task: str) -> dict[str, Tensor]:
    path = home / "adapters" / f"{json_of(home, task)['sha256']}.safetensors"
    return {name: tensor for name, tensor in load_file(path).items() if not name.startswith("router.")}


def json_of(home: Path, task: str) -> Any:
    with Manager.open(home, device="cpu") as manager:
        version = manager.registry.task(task).version
        return {"sha256": version.adapter_sha256, "training": version.training, "number": version.number}


@pytest.mark.slow
@pytest.mark.parametrize("labelled", [True, False])
def test_an_import_is_routed_once_its_routing_is_learned_here(
    imported: Path, run: Run, data: Path, unlabelled: Path, labelled: bool, tmp_path: Path
) -> None:
    folder = data / "chirps" if labelled else unlabelled
    before = tensors_of(imported, "chirps")
    assert {one["task"] for one in routed(run, imported, data / "chirps")} == {"tones"}
    by_name = run(imported, "predict", data, "--task", "chirps", "--format", "json").fine().json
    assert run(imported, "-q", "route", "chirps", "--with", folder).fine().out == "rebuilt the routing of 1 task\n"
    after = tensors_of(imported, "chirps")
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert run(imported, "predict", data, "--task", "chirps", "--format", "json").fine().json == by_name
    found = routed(run, imported, data / "chirps")
    assert sum(one["task"] == "chirps" and one["known"] for one in found) > len(found) / 2
    version = json_of(imported, "chirps")
    assert version["number"] == 2
    recorded = version["training"]["routing"]
    assert (recorded["folder"], recorded["clips"]) == (str(folder), 16 if labelled else 20)
    assert f"discriminant, learned from {recorded['clips']} clips in" in run(imported, "show", "chirps").fine().out
    # What is exported names no folder, and is as little believed as any other import.
    run(imported, "export", "chirps", tmp_path / "out").fine()
    assert all(str(folder).encode() not in path.read_bytes() for path in (tmp_path / "out").iterdir())
    again = run(imported, "import", tmp_path / "out", "--replace").fine()
    assert "chirps answers by name only" in again.err


@pytest.mark.slow
def test_routing_from_a_folder_is_rebuilt_from_it(imported: Path, run: Run, unlabelled: Path, data: Path) -> None:
    run(imported, "-q", "route", "chirps", "--with", unlabelled).fine()
    before = routed(run, imported, data)
    assert "2 tasks" in run(imported, "-q", "route").fine().out
    assert routed(run, imported, data) == before
    unlabelled.rename(unlabelled.with_name("elsewhere"))
    answer = run(imported, "-q", "route", "chirps")
    assert answer.code == 1 and "unlabelled is no folder" in answer.err
    assert routed(run, imported, data) == before  # its routing can still be used


@pytest.mark.slow
@pytest.mark.parametrize("case", ["missing", "a file", "empty", "few", "one recording", "no audio"])
def test_a_folder_that_cannot_teach_routing_changes_nothing(
    imported: Path, run: Run, unlabelled: Path, unchanged: Unchanged, tmp_path: Path, case: str
) -> None:
    clips = sorted(unlabelled.iterdir())
    folder, word = unlabelled, ""
    if case == "missing":
        folder, word = tmp_path / "nowhere", "is no folder"
    elif case == "a file":
        folder, word = clips[0], "is no folder"
    elif case == "empty":
        folder, word = tmp_path / "empty", "no audio files"
        folder.mkdir()
    elif case == "few":
        word = "has 9 clips"
        for path in clips[9:]:
            path.unlink()
    elif case == "one recording":
        word = "sound alike"
        for path in clips:
            path.write_bytes(clips[0].read_bytes())
    else:
        word = clips[5].name
        clips[5].write_bytes(b"RIFF, as it says, and no more")
    with unchanged(imported):
        run(imported, "-q", "route", "chirps", "--with", folder).refused(word)


@pytest.mark.parametrize("tasks", [[], ["tones", "noises"]])
def test_a_folder_is_for_one_task(imported: Path, run: Run, data: Path, tasks: list[str]) -> None:
    answer = run(imported, "route", *tasks, "--with", data / "chirps")
    assert answer.code == 2 and "exactly one TASK" in answer.err


@pytest.mark.slow
def test_an_import_of_a_published_set_learns_from_the_one_here_only_when_it_is_named(
    imported: Path, run: Run, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its file says of its clips may be a lie: the fingerprint decides, and the user names the task."""
    import streams

    task = streams.load(data / "chirps")
    with Manager.open(imported, device="cpu") as manager:
        version = manager.registry.task("chirps").version
        claims = {"imported": {**task.source.to_json(), "task": "esc50", "data": ""}}
        stored = manager.session.task("chirps")
        data_of = to_bytes(stored.model, manager.backbone, {}, {})
        manager.registry.commit("chirps", data_of, replace(version.facts(), source=claims), replace=True)
    asked: list[object] = []

    def load(name: object, **rest: object) -> streams.Task:
        asked.append(name)
        return task

    monkeypatch.setattr(streams, "load", load)
    everything = run(imported, "-q", "route")
    assert everything.code == 1 and "chirps answers by name only: it was imported" in everything.err and not asked
    run(imported, "-q", "route", "chirps").fine()
    assert asked == ["esc50"]
    assert "chirps" in {one["task"] for one in routed(run, imported, data / "chirps")}
    monkeypatch.setattr(streams, "load", lambda name, **rest: replace(task, train=task.train[1:]))
    refused = run(imported, "-q", "route", "chirps")
    assert refused.code == 1 and "other clips than those" in refused.err


# Routing that cannot have been learned, in a registry of one's own

BAD: dict[str, Change] = {
    "constant": constant,
    "a huge mean": lambda tensors: tensors.update({"router.centre": torch.full_like(tensors["router.centre"], 3e38)}),
    "half of it": lambda tensors: tensors.update({"router.kind": tensors.pop("router.sureness")}),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", BAD.values(), ids=BAD)
def test_bad_routing_costs_its_task_the_router_and_no_other(
    registry: Path, run: Run, data: Path, change: Change
) -> None:
    commit(registry, "tones", change)
    answer = run(registry, "predict", data / "noises", data / "chirps", "--format", "json").fine()
    assert {one["task"] for one in answer.json} == {"noises", "chirps"}
    assert all(len(one["tasks"]) == 2 for one in answer.json)
    (line,) = answer.err.splitlines()
    assert line.startswith("cl-ast: the routing of tones cannot be used (") and "`cl-ast route tones`" in line
    assert run(registry, "predict", data / "tones", "--task", "tones").fine().err == ""


@pytest.mark.slow
def test_bad_routing_is_rebuilt(registry: Path, run: Run, data: Path) -> None:
    before = routed(run, registry, data)
    commit(registry, "tones", constant)
    run(registry, "-q", "route", "tones").fine()
    assert routed(run, registry, data) == before


# Logits that are not numbers


@pytest.mark.slow
def test_a_head_without_numbers_is_an_error_of_its_task(registry: Path, run: Run, data: Path) -> None:
    commit(registry, "tones", huge)
    clips = sorted((data / "tones" / "low").iterdir())[:2]
    named = run(registry, "-q", "predict", *clips, "--task", "tones", "--format", "json")
    assert (named.code, named.json) == (1, [])
    first, second = named.err.splitlines()
    assert first.startswith(f"cl-ast: {clips[0]}: the task tones answers with values that are not numbers")
    assert str(clips[1]) in second
    windows = run(registry, "-q", "predict", clips[0], "--task", "tones", "--window", 0.2, "--format", "json")
    assert windows.code == 1 and len(windows.err.splitlines()) == 1

    every = run(registry, "predict", data, "--all", "--format", "json")
    assert every.code == 1 and "the task tones answers" in every.err
    answered = json.loads(every.out, parse_constant=lambda word: pytest.fail(word))
    assert {one["task"] for one in answered} == {"noises", "chirps"}

    routed = run(registry, "predict", data, "--format", "json")
    found = {one["path"] for one in routed.json}
    failed = {line.removeprefix("cl-ast: ").partition(": ")[0] for line in routed.err.splitlines()}
    assert routed.code == 1 and not found & failed and len(found | failed) == 60
    assert "tones" not in {one["task"] for one in routed.json}


@pytest.mark.slow
def test_measuring_says_which_task_has_no_numbers(
    registry: Path, run: Run, data: Path, quick: list[object], unchanged: Unchanged
) -> None:
    commit(registry, "tones", huge)
    for words in (["evaluate"], ["evaluate", "--by-name"]):
        answer = run(registry, "-q", *words, "--format", "json")
        assert answer.code == 1
        assert "tones could not be measured: the task tones answers with values that are not numbers" in answer.err
        assert [row["task"] for row in answer.json] == ["noises", "chirps"]
        assert all(0 <= row["accuracy"] <= 1 for row in answer.json)
    added = run(registry, "-q", "add-task", data / "chirps", "--name", "more", *quick, "--format", "json").fine().json
    assert list(added["skipped"]) == ["tones"]
    assert [row["task"] for row in added["measured"]] == ["noises", "chirps", "more"]
    with unchanged(registry):
        routing = run(registry, "-q", "route", "tones")
        assert routing.code == 1 and "values that are not numbers" in routing.err
        run(registry, "-q", "route", "tones", "--with", data / "tones").refused("values that are not numbers")


@pytest.mark.slow
def test_an_adapter_without_numbers_is_an_error_of_its_task(registry: Path, run: Run, data: Path) -> None:
    """Neither import nor commit accepts one, so this is a file that was exchanged together with its hash."""
    with Manager.open(registry, device="cpu") as manager:
        was = manager.registry.task("tones").version.adapter_sha256
    path = registry / "adapters" / f"{was}.safetensors"
    content = path.read_bytes()
    size = 8 + int.from_bytes(content[:8], "little")
    begin, end = json.loads(content[8:size])["head.bias"]["data_offsets"]
    broken = content[: size + begin] + b"\xff" * (end - begin) + content[size + end :]
    now = hashlib.sha256(broken).hexdigest()
    (path.parent / f"{now}.safetensors").write_bytes(broken)
    with sqlite3.connect(registry / "registry.db") as database:
        database.execute("update versions set adapter_sha256 = ? where adapter_sha256 = ?", (now, was))
    run(registry, "-q", "predict", data, "--task", "tones").refused("tones", "values that are not numbers")
    answer = run(registry, "predict", data, "--all", "--format", "json")
    assert answer.code == 1 and "values that are not numbers in head.bias" in answer.err
    assert {one["task"] for one in answer.json} == {"noises", "chirps"}
    assert {one["path"] for one in answer.json} >= {str(path) for path in (data / "chirps").rglob("*.wav")}


@pytest.mark.slow
def test_a_training_whose_routing_cannot_be_learned_is_kept(
    stage: MakeFolder, run: Run, clips: MakeFolder, quick: list[object], data: Path
) -> None:
    home, folder = stage("tones"), clips("alike")
    samples, rate = soundfile.read(next(folder.rglob("*.wav")))
    for path in folder.rglob("*.wav"):
        soundfile.write(path, samples, rate, subtype="PCM_16")
    answer = run(home, "-q", "add-task", folder, *quick).fine()
    assert "alike answers by name only: all its clips sound alike" in answer.err
    run(home, "predict", data / "tones", "--task", "alike").fine()
    assert {one["task"] for one in routed(run, home, data / "tones")} == {"tones"}
    assert run(home, "tasks", "--format", "json").json[-1]["by_name_only"] is True


@pytest.mark.slow
def test_a_background_without_numbers_is_measured_again(stage: MakeFolder, run: Run, data: Path) -> None:
    home = stage("tones")
    before = routed(run, home, data / "tones")
    with Manager.open(home, device="cpu") as manager:
        background = manager.session.routing.space.to_bytes()
        size = 8 + int.from_bytes(background[:8], "little")
        manager.registry.replace_background(background[:size] + b"\xff" * (len(background) - size))
    run(home, "-q", "route", "tones").fine()
    again = routed(run, home, data / "tones")
    assert [(one["task"], one["known"]) for one in again] == [(one["task"], one["known"]) for one in before]
    with Manager.open(home, device="cpu") as manager:
        assert manager.registry.backbone is not None
        assert all(torch.isfinite(tensor).all() for tensor in load(manager.registry.backbone.background).values())


def test_json_is_never_written_with_what_is_no_number() -> None:
    for value in ([float("nan")], {"score": float("inf")}):
        with pytest.raises(ClAstError, match="which JSON cannot hold"):
            as_json(value)

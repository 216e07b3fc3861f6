"""`share`, and the tasks that read a shared part: learned, listed, exported, imported, verified and dropped."""

import json
from pathlib import Path

import pytest

from registry import Registry
from tests.cli.conftest import MakeFolder, Run


@pytest.fixture(scope="module")
def shared_by(run: Run, data: Path, backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry of three tasks and a shared part, which a fourth task reads; not to be changed."""
    home = tmp_path_factory.mktemp("shared-by") / "registry"
    quick = ["--epochs", 1, "--no-eval"]
    for task in ("tones", "noises"):
        run(home, "add-task", data / task, "--backbone", backbone, "--method", "linear", *quick).fine()
    made = run(home, "share", "sounds", "--tasks", "tones", "noises", "--method", "mhr:S=2,h=2,r=2", "--epochs", 1)
    assert "sounds: mhr:s=2,h=2,r=2" in made.fine().out and "add-task TASK --share sounds" in made.out
    run(home, "add-task", data / "chirps", "--share", "sounds", *quick).fine()
    return home


@pytest.mark.slow
def test_a_task_learns_only_its_own_numbers(run: Run, shared_by: Path) -> None:
    (task,) = [one for one in run(shared_by, "tasks", "--format", "json").fine().json if one["name"] == "chirps"]
    assert task["method"] == "mhr:s=2,h=2,r=2"
    with Registry.open(shared_by) as registry:
        (part,), version = registry.shared_parts(), registry.task("chirps").version
    # Two layers, two sites, two heads, two skills.
    assert version.shared == part.sha256 and version.trainable_parameters == 16 and part.tasks == ("tones", "noises")
    assert part.sha256[:12] in run(shared_by, "show", "chirps").fine().out
    found = run(shared_by, "stats", "--format", "json").fine().json
    (listed,) = found["shared_parts"]
    assert (listed["name"], listed["read_by"], listed["bytes"]) == ("sounds", ["chirps"], part.bytes)
    storage = found["storage"]
    assert storage["ratio"] == pytest.approx(storage["full_copies_bytes"] / (storage["adapter_bytes"] + part.bytes))
    assert "read by chirps" in " ".join(run(shared_by, "stats").fine().out.split())
    assert run(shared_by, "gc", "--dry-run").fine().out.startswith("0 files")


@pytest.mark.slow
def test_old_answers_stay_the_same_when_others_come(
    run: Run, shared_by: Path, data: Path, backbone: Path, clips: MakeFolder, tmp_path: Path
) -> None:
    home = tmp_path / "copy"
    run(shared_by, "backup", home).fine()
    clip = next((data / "chirps").rglob("*.wav"))
    words = ("predict", clip, "--task", "chirps", "--format", "json")
    before = run(home, *words).fine().json
    run(home, "add-task", clips("more"), "--method", "mhr", "--share", "sounds", "--epochs", 1, "--no-eval").fine()
    run(home, "remove", "tones", "--yes").fine()
    assert run(home, *words).fine().json[0]["labels"] == before[0]["labels"]
    run(home, "verify").fine()


@pytest.mark.slow
def test_an_export_carries_it(run: Run, shared_by: Path, data: Path, backbone: Path, tmp_path: Path) -> None:
    run(shared_by, "export", "chirps", tmp_path / "out").fine()
    guest = tmp_path / "guest"
    run(guest, "add-task", data / "tones", "--backbone", backbone, "--method", "linear", "--epochs", 1).fine()
    run(guest, "import", tmp_path / "out").fine()
    run(guest, "import", tmp_path / "out", "--name", "again").fine()
    clip = next((data / "chirps").rglob("*.wav"))
    words = ("predict", clip, "--task", "chirps", "--format", "json")
    assert run(guest, *words).fine().json[0]["labels"] == run(shared_by, *words).fine().json[0]["labels"]
    with Registry.open(guest) as registry, Registry.open(shared_by) as origin:
        assert [part.sha256 for part in registry.shared_parts()] == [part.sha256 for part in origin.shared_parts()]
    run(guest, "verify").fine()
    part, again = tmp_path / "out" / "shared_part.safetensors", ("-q", "import", tmp_path / "out", "--name", "third")
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    run(guest, *again).refused("is not the shared part")
    part.unlink()
    run(guest, *again).refused("shared_part.safetensors is missing")


@pytest.mark.slow
def test_unshared_it_is_a_lora_of_peft(run: Run, shared_by: Path, data: Path, backbone: Path, tmp_path: Path) -> None:
    run(shared_by, "export", "chirps", tmp_path / "out", "--unshared").fine()
    assert json.loads((tmp_path / "out" / "adapter_config.json").read_text())["peft_type"] == "LORA"
    assert not (tmp_path / "out" / "shared_part.safetensors").exists()
    guest = tmp_path / "guest"
    run(guest, "add-task", data / "tones", "--backbone", backbone, "--method", "linear", "--epochs", 1).fine()
    run(guest, "import", tmp_path / "out").fine()
    (task,) = [one for one in run(guest, "tasks", "--format", "json").fine().json if one["name"] == "chirps"]
    assert task["method"] == "lora:qv,r=2,s=0.5"
    clip = next((data / "chirps").rglob("*.wav"))
    words = ("predict", clip, "--task", "chirps", "--format", "json")
    assert run(guest, *words).fine().json[0]["labels"] == run(shared_by, *words).fine().json[0]["labels"]


NEW = ["share", "new", "--tasks", "tones"]
LEARN = ["add-task", "DATA", "--name", "x"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([*NEW, "noises", "--method", "lora"], "reads no shared part; these methods do: poly"),
        ([*NEW, "--method", "poly"], "two tasks or more"),
        ([*NEW, "nothing", "--method", "poly"], 'no task "nothing"'),
        (["share", "Sounds", "--tasks", "tones", "noises", "--method", "poly"], "never changes"),
        ([*LEARN, "--share", "sound"], 'no shared part "sound"'),
        ([*LEARN, "--method", "poly"], "cl-ast share NAME"),
        ([*LEARN, "--method", "lora", "--share", "sounds"], "leave out --method"),
        ([*LEARN, "--method", "mhr:s=8,h=8,r=6", "--share", "sounds"], "leave out --method"),
        ([*LEARN, "--from-layer", "1", "--share", "sounds"], "layers are those of the shared part"),
    ],
)
def test_what_cannot_be_is_said_before_any_training(
    run: Run, shared_by: Path, data: Path, words: list[str], said: str
) -> None:
    run(shared_by, "-q", *[data / "tones" if word == "DATA" else word for word in words]).refused(said)


def test_relearning_says_why_a_task_is_left_out(run: Run, shared_by: Path, tmp_path: Path) -> None:
    found = run(shared_by, "relearn", "chirps", "--to", tmp_path / "other", "--backbone", "ast-mini")
    assert found.code == 1 and "reads a shared part of its own registry" in found.err

"""What the command line says of models that came from elsewhere: a LoRA for another base model, changed numbers."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Run

pytestmark = pytest.mark.slow


def test_an_import_says_that_the_lora_may_be_for_another_model(
    run: Run, data: Path, quick: list[object], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    run(home, "add-task", data / "tones", *quick, "--method", "lora:qv,r=2").fine()
    out = tmp_path / "out"
    run(home, "export", "tones", out).fine()
    _forget_the_backbone(out / "task.safetensors")
    config = json.loads((out / "adapter_config.json").read_text())
    (out / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": "/content/my-model"}))
    answer = run(home, "import", out, "--name", "theirs").fine()
    assert answer.out == "imported theirs as version 1, with 2 labels\n"
    first, second = answer.err.splitlines()
    assert first.startswith("cl-ast: the LoRA is for '/content/my-model'")
    assert second.startswith("cl-ast: theirs answers by name only") and "`cl-ast route theirs --with DIR`" in second


def test_a_registry_whose_backbone_got_numbers_of_its_own_is_trained_again(
    run: Run, data: Path, backbone: Path, tmp_path: Path
) -> None:
    home, own = tmp_path / "home", Path(shutil.copytree(backbone, tmp_path / "own"))
    words = ["--backbone", own, "--epochs", 1, "--method", "linear"]
    run(home, "add-task", data / "tones", *words).fine()
    numbers = {"feature_extractor_type": "ASTFeatureExtractor", "mean": -6.8, "std": 5.5}
    (own / "preprocessor_config.json").write_text(json.dumps(numbers))
    clip = data / "tones" / "low" / "00.wav"
    run(home, "-q", "predict", clip, "--task", "tones").refused(
        "preprocessor_config.json", "cl-ast relearn --to", str(own)
    )
    run(home, "relearn", "--to", tmp_path / "again", "--backbone", own).fine()
    run(tmp_path / "again", "predict", clip, "--task", "tones").fine()
    old = shutil.copytree(own, tmp_path / "old", ignore=shutil.ignore_patterns("preprocessor_config.json"))
    run(home, "predict", clip, "--task", "tones", "--backbone", old).fine()


def _forget_the_backbone(path: Path) -> None:
    """Take the backbone out of a task's description, as a LoRA from elsewhere does not have it."""
    from safetensors.torch import load_file, save_file

    data = path.read_bytes()
    facts = json.loads(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]["cl_ast"])
    del facts["backbone"]
    save_file(load_file(path), path, metadata={"cl_ast": json.dumps(facts)})

"""How a task is trained by default is decided in one place: the manager, add-task, stream and compare agree."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import streams
from cl_ast import Manager, TrainOptions

Run = Callable[..., Any]
DECIDED = ("epochs", "batch_size", "learning_rate", "frequency_mask", "time_mask", "head", "precision", "pooling")


@pytest.fixture(scope="module")
def esc50(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of tones in ESC-50's layout."""
    root = tmp_path_factory.mktemp("data") / "ESC-50-master"
    (root / "meta").mkdir(parents=True)
    (root / "audio").mkdir()
    time = np.arange(8_000) / 16_000
    columns = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
    with (root / "meta" / "esc50.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for fold in range(1, 6):
            for take in "AB":
                for target, category in enumerate(("low", "high")):
                    name = f"{fold}-{100 + target}-{take}-{target}.wav"
                    hertz = (300, 3_000)[target] + 20 * fold + ord(take)
                    samples = (0.4 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)
                    soundfile.write(root / "audio" / name, samples, 16_000)
                    writer.writerow((name, fold, target, category, False, 100 + target, take))
    return root


def _recorded(run: Run, registry: Path, task: str) -> dict[str, Any]:
    found: dict[str, Any] = run(registry, "show", task, "--format", "json").fine().json
    return {"method": found["method"], **found["versions"][-1]["training"]}


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch, backbone: Path) -> int:
    """The number of epochs of ESC-50's recipe, which are as few here as show that it is the recipe's."""
    from cl_ast.backbone import pretrained
    from cl_ast.training import recipes

    assert recipes.recipe_for("esc50", pretrained.load(str(backbone))).epochs == 50
    row = replace(recipes._DATA_SETS["esc50"], epochs=3)
    monkeypatch.setattr(recipes, "_DATA_SETS", {**recipes._DATA_SETS, "esc50": row})
    return row.epochs


@pytest.mark.slow
@pytest.mark.parametrize("asked_for", [{}, {"epochs": 1}], ids=["nothing", "epochs"])
def test_all_four_train_a_data_set_by_its_recipe(
    asked_for: dict[str, int], short: int, run: Run, esc50: Path, backbone: Path, tmp_path: Path
) -> None:
    words = [word for name, value in asked_for.items() for word in (f"--{name}", value)]
    run(tmp_path / "added", "add-task", "esc50", "--data", esc50, "--backbone", backbone, *words).fine()
    run(tmp_path / "streamed", "stream", "esc50", "--data-root", esc50.parent, "--backbone", backbone, *words).fine()
    with Manager.open(tmp_path / "python", backbone=str(backbone), device="cpu") as manager:
        manager.add_task(streams.load("esc50", data=esc50), options=TrainOptions(**asked_for))
    found = [_recorded(run, tmp_path / name, "esc50") for name in ("added", "streamed", "python")]
    usual = run(tmp_path / "none", "compare", "esc50", "--data", esc50, "--backbone", backbone, "--format", "json",
                "--methods", found[0]["method"], *words).fine().json  # fmt: skip
    found.append({"method": usual[0]["method"], **usual[0]["training"]})
    for one in found[1:]:
        assert {name: one[name] for name in ("method", *DECIDED)} == {
            name: found[0][name] for name in ("method", *DECIDED)
        }
    assert found[0]["epochs"] == asked_for.get("epochs", short)
    assert (found[0]["frequency_mask"], found[0]["time_mask"]) == (24, 80)
    assert found[0]["method"].endswith("k=8")


@pytest.mark.slow
def test_compare_has_the_recipes_own_where_a_method_leaves_it_open(
    run: Run, esc50: Path, data: Path, backbone: Path, tmp_path: Path
) -> None:
    words = ["compare", "esc50", data / "tones", "--data-root", esc50.parent, "--backbone", backbone, "--epochs", 1,
             "--methods", "conformer conformer:houlsby conformer:k=4", "--format", "json"]  # fmt: skip
    rows = run(tmp_path / "none", *words).fine().json
    assert [(row["task"], row["method"].rpartition(",")[2]) for row in rows] == [
        ("esc50", "k=8"), ("esc50", "k=8"), ("esc50", "k=4"), ("tones", "k=31"), ("tones", "k=31"), ("tones", "k=4"),
    ]  # fmt: skip
    run(tmp_path / "added", "add-task", "esc50", "--data", esc50, "--backbone", backbone, "--epochs", 1).fine()
    assert _recorded(run, tmp_path / "added", "esc50")["method"] == rows[0]["method"]


def test_compare_without_methods_has_the_table_but_full_and_shared_parts(esc50: Path, backbone: Path) -> None:
    from cl_ast.adapters.methods import METHODS
    from cl_ast.adapters.spec import parse
    from cl_ast.backbone import pretrained
    from cl_ast.experiments.grid import tasks_by_name, variants_of

    tasks = tasks_by_name([streams.load("esc50", data=esc50)])
    methods = [one.specs["esc50"].text for one in variants_of([], tasks, pretrained.load(str(backbone)))]
    (conformer,) = [text for text in methods if text.startswith("conformer")]
    assert conformer.endswith("k=8")
    left_out = [name for name in METHODS if name == "full" or parse(name).acts_as]
    assert "hyper" in left_out and len(methods) == len(METHODS) - len(left_out)
    assert not any(text.startswith(tuple(left_out)) for text in methods)


@pytest.mark.slow
def test_the_recipe_of_a_folder_is_another(run: Run, data: Path, backbone: Path, tmp_path: Path) -> None:
    run(tmp_path / "home", "add-task", data / "tones", "--backbone", backbone, "--no-eval").fine()
    found = _recorded(run, tmp_path / "home", "tones")
    assert (found["epochs"], found["batch_size"], found["frequency_mask"], found["time_mask"]) == (15, 32, 0, 0)
    assert found["method"].endswith("k=31")

"""Folders mutated at random: imported to a task that answers, or refused with a sentence and nothing kept.

CL_AST_FUZZ=10000 sets how many; a test run does a few hundred. Each takes seconds at most, all of them together bounded
memory, and nothing outside the registry is touched.
"""

import importlib.util
import os
import random
import shutil
from pathlib import Path

import pytest
import torch
from limits import memory_at_most, seconds_at_most
from torch import Tensor

from cl_ast import Manager
from cl_ast.backbone.backbone import Backbone
from cl_ast.errors import ClAstError
from cl_ast.router import learn
from cl_ast.router.space import description_id
from cl_ast.sharing.accept import accept
from cl_ast.sharing.folder import read, write
from cl_ast.tasks.task_file import to_bytes
from registry import Registry
from tests.cl_ast.conftest import Fresh, Randomise

FOLDERS = int(os.environ.get("CL_AST_FUZZ", "400"))
_SPEC = importlib.util.spec_from_file_location("registry_fuzz", Path(__file__).parents[2] / "registry" / "test_fuzz.py")
assert _SPEC and _SPEC.loader
mutate = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(mutate)


def everything_in(folder: Path) -> dict[str, bytes]:
    """Return each file below a folder with its content."""
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["conformer:r=1,k=3", "lora:qv,r=1"])
def test_a_mutated_folder_answers_or_is_refused(
    tmp_path: Path,
    backbone: Backbone,
    fresh: Fresh,
    randomise: Randomise,
    features: Tensor,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # nobody pulls the plug here
    model = randomise(fresh(method))
    points = torch.nn.functional.normalize(torch.randn(9, 64), dim=1)
    state = learn(
        points, [0] * 9, points, generator=torch.Generator(), description_id=description_id(backbone)
    ).tensors()
    words = {"seed": 1, "seconds": 1.0, "source": {}}
    good = write(tmp_path / "good", to_bytes(model, backbone, words, state), auto=None)
    before = everything_in(tmp_path)
    dice, fine = random.Random(5), 0
    with memory_at_most(), Manager(Registry.open(tmp_path / "registry"), backbone=backbone, device="cpu") as manager:
        for number in range(FOLDERS // 2):
            shutil.copytree(good, tmp_path / "bad")
            path = dice.choice(sorted(p for p in (tmp_path / "bad").iterdir() if p.name != "README.md"))
            claims = path.name == ("task.safetensors" if method.startswith("lora") else "adapter_model.safetensors")
            change = dice.choice([mutate.some_bytes, mutate.some_claim]) if claims else mutate.some_bytes
            path.write_bytes(change(path.read_bytes(), dice))
            try:
                with seconds_at_most():
                    if number % 10:  # all that an import checks; a commit is slow
                        task, _ = accept(read(tmp_path / "bad"), backbone, "b")
                    else:
                        manager.import_(tmp_path / "bad", name="b", replace=True)
                        task = manager.session.task("b")
            except ClAstError as error:
                assert "\n" not in str(error) and len(str(error)) < 1_500, error
            else:
                fine += 1
                assert task.model.logits(features).shape == (3, len(task.model.settings.labels))
            shutil.rmtree(tmp_path / "bad")
        assert manager.registry.verify() == []
        assert [task.name for task in manager.registry.tasks()] == ["b"]
    shutil.rmtree(tmp_path / "registry")
    assert everything_in(tmp_path) == before
    assert FOLDERS * 0.02 < fine < FOLDERS // 2 * 0.8

"""Folders mutated at random: imported to a task that answers, or refused with a sentence and nothing kept.

CL_AST_FUZZ=10000 sets how many; a test run does a few hundred.
"""

import importlib.util
import os
import random
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cl_ast.backbone.backbone import Backbone
from cl_ast.errors import ClAstError
from cl_ast.router import learn
from cl_ast.router.space import description_id
from cl_ast.sharing.accept import accept
from cl_ast.sharing.folder import read, write
from cl_ast.tasks.task_file import to_bytes
from tests.cl_ast.conftest import Fresh, Randomise

FOLDERS = int(os.environ.get("CL_AST_FUZZ", "400"))
_SPEC = importlib.util.spec_from_file_location("registry_fuzz", Path(__file__).parents[2] / "registry" / "test_fuzz.py")
assert _SPEC and _SPEC.loader
mutate = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(mutate)


@pytest.mark.parametrize("method", ["conformer:r=1,k=3", "lora:qv,r=1"])
def test_a_mutated_folder_answers_or_is_refused(
    tmp_path: Path, backbone: Backbone, fresh: Fresh, randomise: Randomise, features: Tensor, method: str
) -> None:
    model = randomise(fresh(method))
    points = torch.nn.functional.normalize(torch.randn(9, 64), dim=1)
    state = learn(
        points, [0] * 9, points, generator=torch.Generator(), description_id=description_id(backbone)
    ).tensors()
    words = {"seed": 1, "seconds": 1.0, "source": {}}
    good = write(tmp_path / "good", to_bytes(model, backbone, words, state), auto=None)
    dice, fine = random.Random(5), 0
    for _ in range(FOLDERS // 2):
        shutil.copytree(good, tmp_path / "bad")
        path = dice.choice(sorted(p for p in (tmp_path / "bad").iterdir() if p.name != "README.md"))
        claims = path.name == ("task.safetensors" if method.startswith("lora") else "adapter_model.safetensors")
        change = dice.choice([mutate.some_bytes, mutate.some_claim]) if claims else mutate.some_bytes
        path.write_bytes(change(path.read_bytes(), dice))
        try:
            task, new = accept(read(tmp_path / "bad"), backbone, None)
        except ClAstError as error:
            assert "\n" not in str(error) and len(str(error)) < 1_500, error
        else:
            fine += 1
            assert task.model.logits(features).shape == (3, len(new.labels))
        shutil.rmtree(tmp_path / "bad")
    assert fine < FOLDERS // 2 * 0.8

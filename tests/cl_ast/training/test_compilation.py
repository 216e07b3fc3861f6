"""A compiled training step: the same weights, or a sentence where there is no compiler."""

import shutil
from pathlib import Path

import pytest
import torch

from cl_ast.backbone import pretrained
from cl_ast.progress import ClAstWarning
from cl_ast.training.compilation import compiled
from cl_ast.training.options import Hyperparameters
from cl_ast.training.trainer import train
from tests.cl_ast.conftest import Fresh, SaveModel, Toy

pytestmark = pytest.mark.slow


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_a_compiled_training_comes_to_the_same_weights(
    fresh: Fresh, toy: Toy, save_backbone: SaveModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without vector instructions, with which the compiler takes twice as long.
    monkeypatch.setattr("torch._inductor.config.cpp.vec_isa_ok", False)
    models = {}
    # Another layer would be compiled to the same again, which takes seconds.
    backbone = pretrained.load(str(save_backbone(tmp_path / "backbone", num_hidden_layers=1)))
    for compile in ("off", "on"):
        models[compile] = fresh("lora", backbone=backbone, labels=("tone", "noise"), frames=30)
        options = Hyperparameters(epochs=2, batch_size=8, learning_rate=1e-3, compile=compile)
        train(models[compile], toy(0, 16), toy(32, 40), options)
    for name, tensor in models["on"].state().items():
        torch.testing.assert_close(tensor, models["off"].state()[name], rtol=0, atol=1e-4, msg=name)
        assert not tensor.requires_grad


def test_a_machine_without_a_compiler_says_so_once_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch._inductor.config

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", ("no-such-compiler",))
    step = compiled(lambda x: x.sin() + 1)
    with pytest.warns(ClAstWarning, match=r"goes on without a compiled step.*no-such-compiler|goes on without") as said:
        assert torch.equal(step(torch.ones(3)), torch.ones(3).sin() + 1)
        step(torch.ones(3))
    # Torch warns of its own while it is imported for this.
    assert len([one for one in said if issubclass(one.category, ClAstWarning)]) == 1

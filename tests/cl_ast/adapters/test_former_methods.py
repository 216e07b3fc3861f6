"""Tasks that an earlier release stored keep their method and their answers, where a method's text means more today.

`data/former_methods` has a file of each such task over ast-mini, as that release wrote it, and what it answered.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from cl_ast.adapters.spec import parse
from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.pretrained import load
from cl_ast.errors import MethodError
from cl_ast.sharing.folder import write
from cl_ast.tasks.task_file import from_bytes, to_bytes
from registry import header

DATA = Path(__file__).parent / "data" / "former_methods"
ANSWERS: dict[str, Any] = json.loads((DATA / "answers.json").read_text())
TODAY = {
    "before_ffn": "bottleneck:pfeiffer,ffn,sequential,before,skip,r=2",
    "before_both": "bottleneck:houlsby,sequential,before,skip,r=2",
    "before_noresidual": "conformer:pfeiffer,mhsa,sequential,before,noresidual,r=2,k=3",
    "onebit": "onebit:ffn,magnitude,r=4,s=1",
    "ssf": "ssf:layers",
    "sorsa": "sorsa:q,r=2,g=0.0004,from=2",
    "mosa": "mosa:pfeiffer,mhsa,parallel,r=4,n=2,share=down,from=2",
}


@pytest.fixture(scope="module")
def mini() -> Backbone:
    return load("ast-mini")


@pytest.mark.parametrize("name", TODAY)
def test_a_task_of_an_earlier_release_answers_as_before_and_says_what_it_is(mini: Backbone, name: str) -> None:
    clips = torch.randn(2, *mini.front_end(0.4).shape, generator=torch.Generator().manual_seed(5))
    model = from_bytes((DATA / f"{name}.safetensors").read_bytes(), mini).model
    logits = model.logits(clips)
    # Another processor sums in another order.
    torch.testing.assert_close(logits, torch.tensor(ANSWERS[name]["logits"]), rtol=1e-5, atol=1e-5)
    assert model.settings.method.text == TODAY[name]
    again = from_bytes(to_bytes(model, mini, {}, {}), mini).model  # today's text means the same
    assert again.settings.method == model.settings.method
    assert torch.equal(again.logits(clips), logits)


@pytest.mark.parametrize("name", TODAY)
def test_a_stored_text_keeps_its_meaning_and_todays_text_means_the_same_to_both(name: str) -> None:
    stored = parse(ANSWERS[name]["method"], stored=True)
    assert stored.text == TODAY[name]
    assert parse(stored.text) == parse(stored.text, stored=True) == stored
    changed = name in ("before_ffn", "before_both", "onebit", "ssf")
    assert (parse(ANSWERS[name]["method"]) != stored) == changed  # to whoever writes it today


def test_it_is_exported_with_the_text_of_today(tmp_path: Path) -> None:
    folder = write(tmp_path / "task", (DATA / "ssf.safetensors").read_bytes(), auto=None)
    assert json.loads((folder / "adapter_config.json").read_text())["method"] == "ssf:layers"
    assert header.read((folder / "adapter_model.safetensors").read_bytes()).description()["method"] == "ssf:layers"
    assert "--method ssf:layers " in (folder / "README.md").read_text()  # how to train it again


def test_skip_is_said_only_where_it_means_something() -> None:
    for text in ("bottleneck:skip", "bottleneck:sequential,skip", "bottleneck:after,skip"):
        with pytest.raises(MethodError, match="sequential,before,skip"):
            parse(text)

"""A task's settings, and its logits as labels."""

import weakref
from typing import Any

import pytest
import torch

from cl_ast.adapters.listing import SHOWN
from cl_ast.adapters.spec import parse
from cl_ast.audio.log_mel import LogMelFrontEnd
from cl_ast.backbone.backbone import Backbone
from cl_ast.errors import MethodError
from cl_ast.tasks import mixed_batch
from cl_ast.tasks.task_model import TaskSettings, label_scores
from cl_ast.terminal.output import without_collections
from tests.cl_ast.conftest import Fresh, read_again


@pytest.mark.parametrize(
    ("settings", "word"), [({"pooling": "max"}, "max.*mean"), ({"positions": "learned"}, "resize.*learned")]
)
def test_settings_that_do_not_exist_are_refused(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(MethodError, match=word):
        TaskSettings("toy", parse("linear"), ("a", "b"), LogMelFrontEnd(60), **settings)


def test_label_scores_are_softmax_best_first() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0], [5.0, 0.0, 0.0]])
    settings = TaskSettings("toy", parse("linear"), ("a", "b", "c"), LogMelFrontEnd(60))
    first, second = label_scores(logits, settings, None)
    assert [label for label, _ in first] == ["b", "c", "a"]
    assert sum(score for _, score in first) == pytest.approx(1)
    assert dict(first)["c"] == pytest.approx(float(logits[0].softmax(0)[2]))
    assert second[0][0] == "a"
    assert [len(row) for row in label_scores(logits, settings, 2)] == [2, 2]
    assert len(label_scores(logits, settings, 10)[0]) == 3


@pytest.mark.parametrize("text", dict.fromkeys(parse(text).family for text in SHOWN))
def test_a_task_that_is_dropped_gives_its_memory_back_at_once(fresh: Fresh, backbone: Backbone, text: str) -> None:
    trained = fresh(text)
    trained.finish()
    model, other = read_again(trained, backbone), fresh("lora:q,r=2")
    features = torch.randn(2, 40, 128)
    with without_collections():
        model.logits(features)
        mixed_batch.logits([(model, features[0]), (other, features[1])])
        kept = [weakref.ref(one) for one in (model.adapter, *model.head.values())]
        kept += [weakref.ref(model.backbone)] if model.backbone is not backbone else []
        del trained, model
        assert [one() for one in kept] == [None] * len(kept)

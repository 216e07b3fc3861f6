"""Random specs from the rows' own options: a valid one trains a step, an invalid one says which field is wrong."""

import itertools

import pytest
import torch
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from cl_ast.adapters.method import Method
from cl_ast.adapters.methods import METHODS
from cl_ast.adapters.options import Choice, Letters, Number, Option
from cl_ast.adapters.spec import owned, parse
from cl_ast.audio.log_mel import LogMelFrontEnd
from cl_ast.backbone.backbone import Backbone
from cl_ast.errors import MethodError
from cl_ast.tasks.task_model import TaskModel, TaskSettings
from tests.cl_ast.conftest import shared_part

Words = st.SearchStrategy[list[str]]


def _words(option: Option) -> Words:
    """What may be written for an option, or nothing; sizes stay small, for speed."""
    if isinstance(option, Choice):
        return st.sampled_from([[], *([word] for word in option.words)])
    if isinstance(option, Letters):
        letters = st.sets(st.sampled_from(option.alphabet), min_size=1).map("".join)
        return st.one_of(st.just([]), st.sampled_from(option.words).map(lambda w: [w]), letters.map(lambda w: [w]))
    if isinstance(option.default, int):
        number: st.SearchStrategy[int | float] = st.integers(max(1, int(option.low)), min(9, int(option.high)))
    else:
        number = st.floats(option.low, min(8.0, option.high))
    # A size is nearly always said: the defaults are for wide backbones.
    said = number.map(lambda value: [f"{option.name}={value}"])
    return said if option.name in ("r", "n") else st.one_of(st.just([]), said)


def _row(method: Method) -> st.SearchStrategy[str]:
    lists = st.tuples(*(_words(option) for option in method.options))
    return lists.map(lambda found: _written(method.name, list(itertools.chain(*found))))


def _written(name: str, words: list[str]) -> str:
    return f"{name}:{','.join(words)}" if words else name


one = st.sampled_from(list(METHODS.values())).flatmap(_row)
several = st.lists(one, min_size=1, max_size=3).map("+".join)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.one_of(one, several))
def test_a_spec_trains_a_step_or_says_which_field_is_wrong(
    backbone: Backbone, features: torch.Tensor, text: str
) -> None:
    try:
        spec = parse(text)
        owned(spec, backbone.shape)
    except MethodError as error:
        event("refused")
        message = str(error)
        written = [word for row in text.split("+") for word in row.replace(":", ",").split(",")]
        assert "\n" not in message
        assert any(word in message for word in written), message
        return
    event("valid")
    assert parse(spec.text) == spec
    model = TaskModel.fresh(
        TaskSettings("toy", spec, ("a", "b"), LogMelFrontEnd(60)),
        backbone,
        torch.Generator().manual_seed(0),
        shared_part(spec, backbone),
    )
    trainable = model.trainable()
    before = [tensor.clone() for tensor in trainable]
    for tensor in trainable:
        tensor.requires_grad_(True)
    with model.adapter.training_mode():
        loss = F.cross_entropy(model.logits(features), torch.tensor([0, 1, 0]))
        loss.backward()  # type: ignore[no-untyped-call]
    torch.optim.AdamW(trainable, lr=1e-2, weight_decay=0).step()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(tensor).all() for tensor in trainable)
    assert any(not torch.equal(tensor, was) for tensor, was in zip(trainable, before, strict=True))


@pytest.mark.slow
@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.sampled_from([m for m in METHODS.values() if m.options]).flatmap(lambda m: st.tuples(st.just(m), _row(m))),
    st.data(),
)
def test_one_wrong_word_is_named(row: tuple[Method, str], data: st.DataObject) -> None:
    method, text = row
    numbers = [option for option in method.options if isinstance(option, Number)]
    wrong = ["sideways", "x=3"]
    for number in numbers:
        wrong += [f"{number.name}={number.high * 10:g}", f"{number.name}={number.low - 1:g}", f"{number.name}=many"]
    word = data.draw(st.sampled_from(wrong))
    name, _, words = text.partition(":")
    kept = [w for w in words.split(",") if w and w.partition("=")[0] != word.partition("=")[0]]
    with pytest.raises(MethodError) as caught:
        parse(_written(name, [*kept, word]))
    # Something else may be wrong with it first, and is named then.
    assert any(w in str(caught.value) for w in [word, *kept])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("auto", ["auto", "sound", "speech"]),
        ("auto:music", ["music", "sound"]),
        ("prefix:n=7", ["n=7", "even"]),
        ("mam:n=7", ["n=7", "even"]),
        ("bottleneck:mixed", ["mixed", "houlsby"]),
        ("bottleneck:houlsby,mixed,after", ["mixed", "after"]),
        ("bottleneck:houlsby,mixed,residual", ["mixed", "residual"]),
        ("bottleneck:after,residual", ["parallel,after", "residual"]),
        ("prefix+multihead", ["prefix", "multihead", "one"]),
        ("prefix+mam", ["prefix"]),
        ("prompt:deep+prompt:shallow", ["prompt", "layer"]),
        ("bottleneck+bitfit", ["norm_mhsa", "shift"]),
        ("ssf+conformer:ffn", ["norm_ffn", "ssf"]),
        ("parallel+scaled", ["scaled", "ffn"]),
        ("linear+bitfit", ["linear", "combined"]),
    ],
)
def test_what_does_not_go_together_is_one_line_that_names_it(text: str, words: list[str]) -> None:
    with pytest.raises(MethodError) as caught:
        parse(text)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bone:r=5", ["bone", "r=5", "32"]),
        ("sorsa:r=40", ["sorsa", "r=40", "32"]),
        ("paca:r=33", ["paca", "r=33", "32"]),
        ("compacter:r=6,n=4", ["compacter", "n=4", "r=6"]),
        ("compacter:r=9,n=3", ["compacter", "n=3", "32"]),
    ],
)
def test_a_size_that_does_not_fit_the_backbone_is_named_with_its_width(
    backbone: Backbone, text: str, words: list[str]
) -> None:
    with pytest.raises(MethodError) as caught:
        owned(parse(text), backbone.shape)
    for word in words:
        assert word in str(caught.value)

"""What `predict` answers, and how long clips are cut."""

import json

import pytest

from cl_ast.audio.windows import Window
from cl_ast.errors import AudioError
from cl_ast.inference.prediction import Prediction


def test_an_answer_as_json_has_the_keys_of_the_contract() -> None:
    labels = (("dog", 0.9), ("cat", 0.1))
    by_name = Prediction("a.wav", "pets", 1.0, True, labels, taken=(0.0, 0.5)).to_json()
    assert by_name == {
        "path": "a.wav", "task": "pets", "task_score": 1.0, "known": True,
        "labels": [{"label": "dog", "score": 0.9}, {"label": "cat", "score": 0.1}],
        "heard": [0.0, 0.5],
    }  # fmt: skip
    routed = Prediction("a.wav", "pets", 0.7, False, (("dog", 1.0),), (("pets", 0.7), ("cars", 0.2)), 0.0, 2.0)
    assert list(routed.to_json()) == ["path", "start", "end", "task", "task_score", "known", "tasks", "labels", "heard"]
    assert routed.to_json()["tasks"] == [{"task": "pets", "score": 0.7}, {"task": "cars", "score": 0.2}]
    json.dumps(routed.to_json())


@pytest.mark.parametrize(
    ("seconds", "hop", "word"),
    [(0.05, 0.05, "0.05 s"), (31, 1, "31 s"), (float("nan"), 1, "nan"), (2, 0, "hop of 0"), (2, 3, "hop of 3")],
)
def test_windows_that_make_no_sense_are_refused(seconds: float, hop: float, word: str) -> None:
    with pytest.raises(AudioError, match=word):
        Window(seconds, hop)

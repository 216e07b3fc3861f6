"""Tests that the folders of splits and folds are never classes: they are used, or refused with a way out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streams
from cl_ast.errors import StreamError
from streams.folder_names import meaning
from streams.folder_shape import Seen, shape_of

Make = Callable[..., Any]
quick = settings(max_examples=100, deadline=None)


@pytest.fixture
def layout(tmp_path: Path, wav: Make) -> Callable[..., Path]:
    """Return layout("train/dog", "test/dog", n=3, name="clips"), which writes n clips into each folder."""

    def make(*folders: str, n: int = 3, name: str = "clips") -> Path:
        for folder in folders:
            for i in range(n):
                wav(tmp_path / name / folder / f"{folder.replace('/', '-')}-{i}.wav")
        return tmp_path / name

    return make


def labels_of(root: Path, split: str, task: streams.Task) -> set[str]:
    return {clip.path.relative_to(root).parts[0] for clip in getattr(task, split)}


# Splits.


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "dev", "evaluation"),
        ("TRAINING", "Development", "EVAL"),
        ("trn", "vld", "tst"),
        ("training_set", "validation_set", "test_set"),
        ("trainset", "devset", "testset"),
        ("train-clean-100", "dev-clean", "test-other"),
        ("Train_1", "Val 2", "hold-out"),
        ("tr", "cv", "tt"),
        ("tr05_real", "dt05_real", "et05_real"),
        ("my_train", "my_dev", "my_test"),
        ("FSDKaggle2018.audio_train", "FSDKaggle2018.audio_dev", "FSDKaggle2018.audio_test"),
        ("entrenamiento", "validación", "prueba"),
        ("训练集", "验证集", "测试集"),
        ("TrainData", "ValidData", "TestData"),
    ],
)
def test_splits_in_every_spelling(layout: Make, train: str, validation: str, test: str) -> None:
    root = layout(*(f"{split}/{label}" for split in (train, validation, test) for label in ("dog", "rain")))
    task = streams.load(root)
    assert task.labels == ("dog", "rain") and task.notes == ()
    assert task.protocol == "the data's own train, validation and test split"
    assert [labels_of(root, s, task) for s in ("train", "validation", "test")] == [{train}, {validation}, {test}]


@pytest.mark.parametrize("parts", [("train_1", "train_2", "test"), ("train", "test-clean", "test-other")])
def test_several_folders_of_one_split(layout: Make, parts: tuple[str, ...]) -> None:
    root = layout(*(f"{part}/{label}" for part in parts for label in ("dog", "rain")), n=7)
    task = streams.load(root)
    assert labels_of(root, "train", task) == {part for part in parts if "train" in part}
    assert labels_of(root, "test", task) == {part for part in parts if "test" in part}


def test_splits_inside_the_classes(layout: Make) -> None:
    root = layout("dog/train", "dog/test", "rain/Train", "rain/testing", n=7)
    task = streams.load(root)
    assert task.labels == ("dog", "rain") and "the data's own train and test split" in task.protocol
    assert {clip.path.parent.name for clip in task.test} == {"test", "testing"} and task.notes == ()
    layout("dog/_background_noise_")
    assert "dog/_background_noise_ (3 clips)" in streams.load(root).notes[0]
    folders = [f"{a}/{b}/{c}" for a in ("english", "german") for b in ("train", "test") for c in ("dog", "rain")]
    task = streams.load(layout(*folders, name="deep"))
    assert task.labels == ("english", "german") and "the folders in english/test are not" in task.notes[0]


@pytest.mark.parametrize("name", ["unlabeled", "unlabelled", "UnLabelled_data", "unknown-label", "no_labels", "unsup"])
@pytest.mark.parametrize("parent", ["", "train/"])
def test_clips_without_labels_are_no_class(layout: Make, name: str, parent: str) -> None:
    root = layout("train/dog", "train/rain", "test/dog", "test/rain", f"{parent}{name}")
    task = streams.load(root)
    assert task.labels == ("dog", "rain") and labels_of(root, "test", task) == {"test"}
    assert task.notes == (f"left out, because they are no class: {parent}{name} (3 clips)",)


def test_unlabelled_clips_beside_classes_are_no_class(layout: Make) -> None:
    task = streams.load(layout("dog", "rain", "unlabelled/a"))
    assert task.labels == ("dog", "rain") and "unlabelled (3 clips)" in task.notes[0]


@pytest.mark.parametrize("parent", ["", "train/", "dog/", "dog/deep/"])
@pytest.mark.parametrize("name", ["_background_noise_", "_Background_Noise_"])
def test_background_noise_is_left_out_of_any_folder_and_said(layout: Make, parent: str, name: str) -> None:
    splits = ("train/", "test/") if parent == "train/" else ("",)
    root = layout(*(f"{split}{label}" for split in splits for label in ("dog", "rain")), f"{parent}{name}")
    task = streams.load(root)
    assert task.labels == ("dog", "rain")
    assert len(task.train + task.validation + task.test) == 6 * len(splits)
    assert task.notes == (f"left out, because they are no class: {parent}{name} (3 clips)",)


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("dog", "rain", "test"), "test name splits, but dog, rain beside them do not; put every class folder into"),
        (("train", "test", "dog"), "test, train name splits, but dog beside"),
        (("train/dog", "test/dog", "extra/dog"), "test, train name splits, but extra beside"),
        (("train/dog", "bus/dog"), "train name splits, but bus"),
        (("train", "test"), "train/train-0.wav and 2 more clips have no label|test/test-0.wav and 2 more"),
        (("noisy_train", "noisy_test"), "more clips have no label"),
        (("train/dog", "train/rain", "test/part1", "test/part2"), "part1, part2 name folds or parts"),
        (("train/dev", "train/test", "test/dog"), "train holds the splits dev, test, not classes"),
        (("train_fold1/dog", "test_fold1/dog"), "test_fold1, train_fold1 name splits of folds"),
        (("fold1/train/dog", "fold1/test/dog", "fold2/train/dog"), "fold1 holds the splits test, train, not classes"),
        (("dev/dog", "dev/rain", "evaluation/dog"), "no clip is in the train split"),
    ],
)
def test_splits_that_cannot_be_used_are_refused(layout: Make, folders: tuple[str, ...], message: str) -> None:
    with pytest.raises(StreamError, match=message) as caught:
        streams.load(layout(*folders))
    assert "one class" not in str(caught.value)


@pytest.mark.parametrize(
    "folders",
    [
        ("bus", "train"),
        ("bus", "train", "tram"),
        ("train_horn", "train_whistle"),
        ("invalid", "valid"),
        ("contest", "latest", "protest"),
        ("te", "tr"),
        ("part a", "whole"),
        ("session", "set"),
        ("none", "other", "unknown"),
        ("eye_test", "rain"),
        ("1", "2", "3"),
    ],
)
def test_names_that_classes_have_stay_classes(layout: Make, folders: tuple[str, ...]) -> None:
    task = streams.load(layout(*folders))
    assert task.labels == folders and task.notes == ()


# Folds.

FOLDS = [
    "fold{}",
    "Fold_{:02}",
    "fold-{}",
    "cv{}",
    "part{}",
    "Session{}",
    "split_{}",
    "1{} fold",
    "esc_fold{}",
    "set {}",
]


@pytest.mark.parametrize("name", FOLDS)
def test_folds_of_class_folders_are_used(layout: Make, name: str) -> None:
    folds = [name.format(i) for i in (1, 2, 3)]
    root = layout(*(f"{fold}/{label}" for fold in folds for label in ("dog", "rain")))
    task = streams.load(root)
    assert task.labels == ("dog", "rain") and "3 tests" in task.protocol
    assert labels_of(root, "test", task) == {folds[2]} and labels_of(root, "validation", task) == {folds[1]}
    assert labels_of(root, "test", streams.load(root, fold=(folds[0].split("1")[-1] and 11) or 1)) == {folds[0]}


@pytest.mark.parametrize("name", FOLDS)
def test_folds_of_clips_are_refused_with_the_way_out(layout: Make, name: str) -> None:
    folds = sorted(name.format(i) for i in (1, 2, 3))
    for root in (layout(*folds), layout(*(f"audio/{fold}" for fold in folds), name="deep").parent / "deep"):
        with pytest.raises(StreamError, match="name folds or parts of a data set, not classes") as caught:
            streams.load(root)
        message = str(caught.value)
        assert "columns file, label and fold" in message and "us8k and iemocap" in message
        assert f"give {root}" not in message


@pytest.mark.parametrize(
    "folders",
    [
        ("fold1/dog", "fold2/dog", "rain"),
        ("fold1", "dog", "rain"),
        ("Session1", "dog"),
        ("part1/dog", "part2/rain", "extra/rain"),
        ("fold1/dog", "session2/dog", "fold3/dog"),
        ("fold1/dog", "fold2/dog", "test/dog"),
    ],
)
def test_folds_beside_other_folders_are_refused(layout: Make, folders: tuple[str, ...]) -> None:
    with pytest.raises(StreamError, match=r"name folds or parts|name splits, but"):
        streams.load(layout(*folders))


def test_folds_inside_the_classes_and_folds_with_tables(layout: Make, table: Make, wav: Make, tmp_path: Path) -> None:
    root = layout(*(f"{label}/fold{i}" for label in ("dog", "rain") for i in (1, 2, 10)))
    assert streams.load(root).protocol == "fold 10 tests, fold 2 validates, fold 1 trains"
    for fold in ("cv1", "cv2", "cv3"):
        entries = [{"file": f"{i}.wav", "label": "ab"[i % 2]} for i in range(4)]
        table(tmp_path / "tables" / fold / "metadata.csv", entries)
        for entry in entries:
            wav(tmp_path / "tables" / fold / entry["file"])
    assert streams.load(tmp_path / "tables").protocol == "fold 3 tests, fold 2 validates, fold 1 trains"


def test_folders_that_may_be_speakers_are_said(layout: Make) -> None:
    task = streams.load(layout("Actor_01", "Actor_02", "Actor_03"))
    assert task.labels == ("Actor_01", "Actor_02", "Actor_03")
    assert len(task.notes) == 1 and "if they are speakers or parts" in task.notes[0]
    task = streams.load(layout("german/angry", "german/happy", "urdu/angry", "urdu/happy", name="emotions"))
    assert task.labels == ("german", "urdu") and task.notes[0].startswith("every class holds the folders angry, happy")


# Properties.

SPLIT_WORDS = {
    "train": ["train", "training", "trn"],
    "validation": ["dev", "valid", "validation", "val", "development"],
    "test": ["test", "testing", "tst", "eval", "evaluation", "holdout"],
}
pairs = st.sampled_from([(split, word) for split, words in SPLIT_WORDS.items() for word in words])
endings = st.sampled_from(["", "1", "_1", "-02", " 3", "_set", "-clean", "_data", ".wav", "-other-500", "_16k", "(1)"])
starts = st.sampled_from(["", "0_", "audio_", "my-data."])


@quick
@given(pairs, endings, starts, st.randoms())
def test_a_split_word_in_any_case_with_any_ending_is_its_split(
    pair: tuple[str, str], ending: str, start: str, random: Any
) -> None:
    split, word = pair
    word = "".join(random.choice((letter.upper(), letter.lower())) for letter in word)
    found = meaning(start + word + ending)
    assert (found.kind, found.value) == ("split", split)
    if start != "my-data.":
        assert found.sure


@quick
@given(st.text(max_size=20))
def test_every_name_has_a_meaning_that_case_does_not_change(name: str) -> None:
    found = meaning(name)
    assert found.kind in ("split", "fold", "both", "unlabelled", "class")
    assert (found.value != "") == (found.kind in ("split", "fold"))
    if name.isascii():
        assert meaning(name.lower()).kind == meaning(name.lower().upper()).kind


names = st.sampled_from(
    [
        *(
            "dog",
            "rain",
            "bus",
            "train",
            "valid",
            "test",
            "dev-2",
            "Evaluation",
            "train_horn",
            "tr",
            "te",
            "unknown",
            "7",
        ),
        *(
            "fold1",
            "fold_2",
            "Fold 3",
            "session1",
            "session2",
            "part1",
            "cv",
            "cv3",
            "train_fold1",
            "my_test",
            "x fold1",
        ),
    ]
)


@quick
@given(st.lists(st.builds(Seen, names, st.booleans()), max_size=6, unique_by=lambda folder: folder.name))
def test_no_shape_makes_a_class_of_a_split_or_a_fold(folders: list[Seen]) -> None:
    try:
        shape = shape_of(folders)
    except StreamError as error:
        assert "metadata.csv" in str(error) and "\n" not in str(error)
        return
    kinds = [meaning(folder.name).kind for folder in folders]
    if shape == "classes":
        never = [
            f.name for f in folders if f.name in ("test", "dev-2", "Evaluation", "fold1", "fold_2", "Fold 3", "cv3")
        ]
        assert not never
    else:
        assert set(kinds) == {shape[:-1]}

"""Tests of properties of the functions that split records."""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streams
from cl_ast.errors import StreamError
from streams import split
from streams.choose_split import choose_split
from streams.records import Record, Splits
from streams.split_by_speaker import hold_out_speakers, split_by_speaker

seeds = st.integers(0, 2**32)
quick = settings(max_examples=40, deadline=None)


@st.composite
def collections(draw: st.DrawFn, n_speakers: int = 8) -> list[Record]:
    """Draw two to five classes of one to forty clips, each with a random speaker and fold."""
    sizes = draw(st.lists(st.integers(1, 40), min_size=2, max_size=5))
    rng = random.Random(draw(seeds))
    return [
        Record(
            Path(f"{label}/{i}.wav"),
            f"class {label}",
            speaker=f"s{rng.randrange(n_speakers)}",
            fold=str(rng.randrange(1, 4)),
        )
        for label, size in enumerate(sizes)
        for i in range(size)
    ]


def check_partition(records: list[Record], splits: Splits) -> None:
    parts = [r for part in splits for r in part]
    assert Counter(parts) == Counter(records), "every record is in exactly one split"
    assert all(list(part) == sorted(part, key=lambda r: r.path) for part in splits)


@quick
@given(collections(), seeds)
def test_stratified_keeps_every_class_in_train_and_from_three_on_everywhere(records: list[Record], seed: int) -> None:
    splits = split.stratified_split(records, seed)
    check_partition(records, splits)
    sizes = Counter(r.label for r in records)
    for label, n in sizes.items():
        train, validation, test = (sum(r.label == label for r in part) for part in splits)
        assert train >= 1
        if n >= 3:
            assert validation >= 1 and test >= 1
        if n >= 20:
            assert abs(test - 0.15 * n) <= 1 and abs(validation - 0.15 * n) <= 1


@pytest.mark.slow
@quick
@given(collections(), seeds, seeds)
def test_draws_depend_on_records_and_seed_not_on_order(records: list[Record], seed: int, shuffle: int) -> None:
    other = records[:]
    random.Random(shuffle).shuffle(other)
    assert split.stratified_split(records, seed) == split.stratified_split(other, seed)
    assert split.hold_out(records, seed) == split.hold_out(other, seed)
    if len({r.speaker for r in records}) >= 3:
        assert split_by_speaker(records, seed) == split_by_speaker(other, seed)


def test_another_seed_is_another_draw() -> None:
    records = [Record(Path(f"{i}.wav"), "ab"[i % 2], speaker=f"s{i % 9}") for i in range(90)]
    assert len({tuple(split.stratified_split(records, seed).test) for seed in range(5)}) == 5
    assert len({tuple(split_by_speaker(records, seed).test) for seed in range(5)}) > 1


@quick
@given(collections(), seeds)
def test_holding_out_leaves_every_class_a_training_clip(records: list[Record], seed: int) -> None:
    train, validation = split.hold_out(records, seed)
    check_partition(records, Splits(train, validation, []))
    assert {r.label for r in train} == {r.label for r in records}


@pytest.mark.slow
@quick
@given(collections(), seeds)
def test_speakers_are_never_shared_and_every_class_is_trained(records: list[Record], seed: int) -> None:
    if len({r.speaker for r in records}) < 3:
        return
    splits = split_by_speaker(records, seed)
    check_partition(records, splits)
    train, validation, test = ({r.speaker for r in part} for part in splits)
    assert not (train & validation or train & test or validation & test)
    assert {r.label for r in splits.train} == {r.label for r in records}


@quick
@given(st.integers(3, 30), st.integers(2, 6), seeds)
def test_speakers_with_every_class_fill_all_three_splits(n: int, n_labels: int, seed: int) -> None:
    records = [Record(Path(f"{s}-{c}.wav"), str(c), speaker=str(s)) for s in range(n) for c in range(n_labels)]
    train, validation, test = (len({r.speaker for r in part}) for part in split_by_speaker(records, seed))
    assert train >= 1 and validation >= 1 and test >= 1
    if n >= 10:
        assert abs(test / n - 0.15) <= 0.06 and abs(validation / n - 0.15) <= 0.06


@pytest.mark.slow
@quick
@given(collections(), seeds)
def test_holding_out_speakers_shares_none_or_gives_up(records: list[Record], seed: int) -> None:
    parts = hold_out_speakers(records, seed)
    if parts is not None:
        train, validation = parts
        check_partition(records, Splits(train, validation, []))
        assert validation and not {r.speaker for r in train} & {r.speaker for r in validation}
        assert {r.label for r in train} == {r.label for r in records}


@pytest.mark.slow
@quick
@given(collections(), seeds)
def test_auto_always_partitions_or_says_why(records: list[Record], seed: int) -> None:
    for split_by in ("fold", "speaker", "random"):
        try:
            splits, protocol = choose_split(records, fold=None, split_by=split_by, seed=seed)
        except StreamError as error:
            assert ";" in str(error)
            continue
        check_partition(records, splits)
        assert all(splits) and protocol
        assert {r.label for r in splits.test} <= {r.label for r in splits.train}


@quick
@given(collections(), st.integers(1, 5), seeds)
def test_few_shot_keeps_k_of_each_class(records: list[Record], k: int, seed: int) -> None:
    smallest = min(Counter(r.label for r in records).items(), key=lambda item: (item[1], item[0]))
    if smallest[1] < k:
        with pytest.raises(StreamError, match=r"class 'class .*fewer than"):
            split.keep_per_class(records, k, seed)
        return
    kept = split.keep_per_class(records, k, seed)
    assert set(Counter(r.label for r in kept).values()) == {k}
    assert set(kept) <= set(records)


def test_folds_sort_and_match_as_numbers() -> None:
    names = split.fold_names(Record(Path("a"), "a", fold=f) for f in ("10", "9", "03", "9"))
    assert names == ["03", "9", "10"]
    assert split.find_fold(names, "3") == "03"
    assert split.find_fold(names, "009") == "9"
    assert split.find_fold(names, None) == "10"
    assert split.fold_before(names, "03") == "10"
    with pytest.raises(StreamError, match=r"no fold 4; choose one of 03, 9, 10"):
        split.find_fold(names, "4")
    assert split.fold_names(Record(Path("a"), "a", fold=f) for f in ("b", "a", "10")) == ["10", "a", "b"]
    with pytest.raises(StreamError, match=r"no fold ²"):
        split.find_fold(names, "²")


def test_two_clip_classes_take_turns() -> None:
    records = [Record(Path(f"{c}{i}.wav"), c) for c in "abcd" for i in range(2)]
    assert [len(part) for part in split.stratified_split(records, 0)] == [4, 2, 2]


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(6, 40), st.integers(0, 40), st.integers(0, 5))
def test_clips_that_come_later_bring_no_trained_clip_to_the_test(old: int, new: int, seed: int) -> None:
    """As long as a class does not more than double; and the split of the old clips alone is as balanced as ever."""
    root = Path("/data")
    names = [f"{label}/{number:03}.wav" for label in ("dog", "rain") for number in range(old)]
    later = [f"{label}/new{number:03}.wav" for label in ("dog", "rain") for number in range(min(old, new))]

    def drawn(paths: list[str]) -> Splits:
        records = [Record(root / path, path.partition("/")[0]) for path in paths]
        return split.stratified_split(records, seed, root)

    before, after = drawn(names), drawn(names + later)
    assert not {r.path for r in before.train} & {r.path for r in after.test}
    assert [len(part) for part in before] == [
        len(part) for part in split.stratified_split([*before.train, *before.validation, *before.test], seed)
    ]


def test_a_draw_by_name_is_the_same_wherever_the_data_lie() -> None:
    def drawn(root: str) -> list[str]:
        records = [Record(Path(root) / "dog" / f"{number}.wav", "dog") for number in range(20)]
        return [r.path.name for r in split.stratified_split(records, 0, Path(root)).test]

    assert drawn("/here") == drawn("/somewhere/else")
    assert drawn("/here") != [f"{number}.wav" for number in range(3)]


def test_few_clips_of_a_task_leave_the_other_splits(tmp_path: Path, wav: Callable[..., Any]) -> None:
    for number in range(40):
        wav(tmp_path / "ab"[number % 2] / f"{number}.wav")
    whole = streams.load(tmp_path, seed=1)
    drawn, again, first = (streams.few_shot(whole, 3, seed) for seed in (1, 2, None))
    assert drawn.train == streams.load(tmp_path, few_shot=3, seed=1).train
    assert len({drawn.train, again.train, first.train}) == 3
    for task in (drawn, again, first):
        assert sorted(clip.label for clip in task.train) == ["a"] * 3 + ["b"] * 3
        assert (task.validation, task.test, task.labels) == (whole.validation, whole.test, whole.labels)
        assert set(task.train) <= set(whole.train)
    for label in "ab":
        paths = sorted(clip.path for clip in whole.train if clip.label == label)
        assert [clip.path for clip in first.train if clip.label == label] == paths[:3]
    with pytest.raises(StreamError, match="fewer than the 99"):
        streams.few_shot(whole, 99, None)


def test_the_folds_of_a_task(tmp_path: Path, wav: Callable[..., Any]) -> None:
    for fold in (1, 2, 10):
        for label in "ab":
            wav(tmp_path / "folds" / f"fold{fold}" / label / "x.wav")
    assert streams.folds(streams.load(tmp_path / "folds")) == ["1", "2", "10"]
    for label in "ab":
        for number in range(5):
            wav(tmp_path / "plain" / label / f"{number}.wav")
    assert streams.folds(streams.load(tmp_path / "plain")) == []

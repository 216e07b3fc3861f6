"""Tests clips with several labels: how tables say them, how they are split, and how they are loaded again."""

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import streams
from cl_ast.errors import StreamError
from streams.labelled import read_labelled
from streams.recorded_split import RecordedSplit, members_of, reload_recorded
from streams.records import Record
from streams.split import SHARE, hold_out, keep_per_class, stratified_split

Make = Callable[..., Any]
SETS = ("dog", "rain", "dog;rain", "wind;rain", "wind")


def entries(count: int = 40, **columns: Callable[[int], object]) -> list[dict[str, object]]:
    return [
        {"file": f"{i:02}.wav", "label": SETS[i % 5]} | {name: value(i) for name, value in columns.items()}
        for i in range(count)
    ]


def clips_of(task: streams.Task) -> dict[str, tuple[str, ...]]:
    return {clip.path.name: clip.labels for clip in (*task.train, *task.validation, *task.test)}


def test_several_labels_in_a_cell(labelled: Make) -> None:
    task = streams.load(labelled(entries()))
    assert task.labels == ("dog", "rain", "wind") and task.source.tags
    assert clips_of(task) == {f"{i:02}.wav": tuple(sorted(SETS[i % 5].split(";"))) for i in range(40)}
    assert task.notes == ("16 of 40 clips have several labels, so each label is learned as a tag, on its own",)
    assert streams.reload(streams.Source.from_json(task.source.to_json())) == replace(task)
    # Written in another way, it is the same task.
    for other in (
        [row | {"label": f" {str(row['label']).replace(';', ' ; ')};"} for row in entries()],
        [{"file": row["file"], "tags": row["label"]} for row in entries()],
        [{"file": row["file"], "Labels": str(row["label"]).replace(";", ", ")} for row in entries()],
        [{"file": row["file"], "label": one} for row in entries() for one in str(row["label"]).split(";")],
    ):
        assert streams.load(labelled(other)).fingerprint() == task.fingerprint()


def test_lists_in_json_lines(tmp_path: Path, wav: Make) -> None:
    rows = [{"file": f"{i}.wav", "labels": SETS[i % 5].split(";"), "more": [1]} for i in range(40)]
    for row in rows:
        wav(tmp_path / "clips" / str(row["file"]))
    (tmp_path / "clips" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert clips_of(streams.load(tmp_path / "clips"))["2.wav"] == ("dog", "rain")


def test_a_column_of_tags_may_have_one_each(labelled: Make) -> None:
    task = streams.load(labelled([{"file": f"{i}.wav", "tags": ("dog", "rain")[i % 2]} for i in range(20)]))
    assert task.source.tags and task.labels == ("dog", "rain") and clips_of(task)["0.wav"] == ("dog",)


def test_one_label_each_is_as_before(labelled: Make, rows: Make) -> None:
    task = streams.load(labelled(rows()))
    assert not task.source.tags and "tags" not in task.source.to_json()
    assert not any(clip.tags for clip in (*task.train, *task.validation, *task.test))


def test_a_semicolon_is_part_of_a_label_for_older_releases(labelled: Make) -> None:
    source = streams.load(labelled(entries())).source
    task = streams.reload(replace(source, tags=False))
    assert task.labels == ("dog", "dog;rain", "rain", "wind", "wind;rain")
    assert not any(clip.tags for clip in task.train)


def test_spellings_are_joined_label_by_label(labelled: Make) -> None:
    task = streams.load(labelled([{"file": f"{i}.wav", "label": ("1;2", "1.0", "2")[i % 3]} for i in range(30)]))
    assert task.labels == ("1", "2") and clips_of(task)["0.wav"] == ("1", "2")
    assert any("the label '1' is written as '1' and '1.0'" in note for note in task.notes)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"file": "00.wav", "label": "dog"}], r"row 42: '00.wav' is listed already in .* row 2 with the label 'dog'"),
        (
            [{"file": "00.wav", "label": "cat", "split": "test"}],
            r"row 42: the split of '00.wav' is 'test', and 'train'",
        ),
        ([{"file": "50.wav", "label": ";", "split": "test"}], r"row 42: no label; fill it in"),
    ],
)
def test_tables_that_contradict_themselves(labelled: Make, rows: list[dict[str, object]], message: str) -> None:
    given = entries(split=lambda i: ("train", "train", "dev", "test")[i // 5 % 4])
    with pytest.raises(StreamError, match=message):
        streams.load(labelled([*given, *({"split": "train"} | row for row in rows)]))


def test_labels_that_cannot_be_shown_are_refused(labelled: Make) -> None:
    with pytest.raises(StreamError, match=r"line end|control"):
        streams.load(labelled(entries() + [{"file": f"x{i}.wav", "label": "dog;a\u0085b"} for i in range(3)]))


# Splits.


def drawn(seed: int, count: int = 300) -> list[Record]:
    rng, tags = random.Random(seed), "abcdefgh"
    found = []
    for number in range(count):
        own = [tag for place, tag in enumerate(tags) if rng.random() < 0.5 / (place + 1)]
        found.append(Record(Path(f"/c/{number:03}.wav"), "").with_tags(own or ["a"]))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_every_tag_is_divided_as_the_clips_are(seed: int) -> None:
    records = drawn(seed)
    splits = stratified_split(records, seed)
    assert sorted(r.path for part in splits for r in part) == [r.path for r in records]
    totals = Counter(tag for r in records for tag in r.tags)
    for part, share in zip(splits, (1 - 2 * SHARE, SHARE, SHARE), strict=True):
        assert abs(len(part) - share * len(records)) <= 0.03 * len(records)
        counts = Counter(tag for r in part for tag in r.tags)
        for tag, total in totals.items():
            assert abs(counts[tag] - share * total) <= max(2.0, 0.05 * total), tag
    assert splits == stratified_split(records[::-1], seed) != stratified_split(records, seed + 1)
    train, validation = hold_out(records, seed)
    for tag, total in totals.items():
        held = sum(tag in r.tags for r in validation)
        assert abs(held - SHARE * total) <= max(2.0, 0.05 * total) and any(tag in r.tags for r in train)


def test_every_tag_has_clips_to_train_on() -> None:
    for seed in range(20):
        splits = stratified_split(drawn(seed, 12), seed)
        assert {tag for part in splits for r in part for tag in r.tags} == {tag for r in splits.train for tag in r.tags}


def test_few_shot_keeps_enough_of_every_tag() -> None:
    train = drawn(0)
    for kept in (keep_per_class(train, 5, 1), keep_per_class(train, 5, None)):
        counts = Counter(tag for r in kept for tag in r.tags)
        assert min(counts.values()) == 5 and len(kept) <= 40 and set(counts) == set("abcdefgh")
    with pytest.raises(StreamError, match=r"class 'b' has \d+ clips to train on, fewer than the 100"):
        keep_per_class(train, 100, 1)


def test_parts_of_recordings_with_tags_never_share_a_recording(tmp_path: Path, wav: Make, table: Make) -> None:
    rows = []
    for site in range(12):
        wav(tmp_path / "clips" / f"site{site}.wav", seconds=3)
        for part in range(3):
            label = SETS[(site + part) % 5]
            rows.append({"file": f"site{site}.wav", "start": part, "end": part + 0.9, "label": label})
    table(tmp_path / "clips" / "metadata.csv", rows)
    task = streams.load(tmp_path / "clips")
    assert task.source.excerpts and task.source.tags and task.labels == ("dog", "rain", "wind")
    places = [{clip.path.name for clip in part} for part in (task.train, task.validation, task.test)]
    assert sum(map(len, places)) == 12 and all(places)


# Loading again, measuring elsewhere, and a published data set.


def test_a_recorded_split_is_found_again(labelled: Make, table: Make, wav: Make) -> None:
    root = labelled(entries())
    task = streams.load(root)
    recorded = RecordedSplit(
        task.labels, task.fingerprint(), task.protocol, {k: frozenset(v) for k, v in members_of(task).items()}
    )
    wav(root / "new.wav")
    table(root / "metadata.csv", [*entries(), {"file": "new.wav", "label": "dog;wind"}])
    again = reload_recorded(task.source, recorded)
    assert (again.train, again.validation, again.test) == (task.train, task.validation, task.test)


def test_a_folder_to_measure_on(labelled: Make) -> None:
    root = labelled(entries(5))
    assert {clip.labels for clip in read_labelled(root, tags=True).clips} >= {("dog", "rain"), ("wind",)}
    assert {clip.labels for clip in read_labelled(root).clips} >= {("dog;rain",)}


def test_fsd50k(fsd50k: Path) -> None:
    task = streams.load("fsd50k", data=fsd50k)
    assert task.labels == ("Rain", "Guitar", "Music") and task.source.tags
    assert task.protocol == "the data's own train, validation and test split"
    assert [len(part) for part in (task.train, task.validation, task.test)] == [9, 3, 12]
    assert clips_of(task)["102.wav"] == ("Guitar", "Music", "Rain")
    with pytest.raises(StreamError, match=r"looks like FSD50K.*with the task fsd50k and --data"):
        streams.load(fsd50k)
    vocabulary = fsd50k / "FSD50K.ground_truth" / "vocabulary.csv"
    vocabulary.write_text(vocabulary.read_text().replace("Music", "Noise"))
    with pytest.raises(StreamError, match=r"dev.csv row 2: 'Music' is not in FSD50K.ground_truth/vocabulary.csv"):
        streams.load("fsd50k", data=fsd50k)
    vocabulary.write_text("")
    with pytest.raises(StreamError, match=r"vocabulary.csv is not a list of number,label,mid"):
        streams.load("fsd50k", data=fsd50k)

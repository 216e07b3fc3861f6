"""Events against a reference: the numbers of sed_eval, the formats that are read, and what is refused."""

import json
import random
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cl_ast.errors import ClAstError, StreamError
from cl_ast.evaluation.event_lists import EventList, Sound, read_event_list, recording_name
from cl_ast.evaluation.event_score import Tally, score
from cl_ast.evaluation.psds import psds, seconds_of_recordings

# The results of sed_eval 0.2.1 for the events that `_drawn` gives: seed, collar, share of the length, matching; events
# of the reference, found, right, right of each class; F1 of all, and mean F1 of the classes.
SED_EVAL: tuple[tuple[int, float, float, Any, int, int, int, list[int], float, float], ...] = (
    (0, 0.2, 0.2, "optimal", 16, 18, 7, [3, 3, 1], 0.411764705882, 0.391025641026),
    (0, 1.0, 0.5, "optimal", 16, 18, 12, [5, 5, 2], 0.705882352941, 0.679487179487),
    (0, 1.0, 0.5, "greedy", 16, 18, 11, [4, 5, 2], 0.647058823529, 0.628205128205),
    (1, 0.2, 0.2, "optimal", 12, 10, 6, [1, 2, 3], 0.545454545455, 0.619047619048),
    (1, 1.0, 0.5, "optimal", 12, 10, 9, [1, 5, 3], 0.818181818182, 0.785714285714),
    (1, 1.0, 0.5, "greedy", 12, 10, 9, [1, 5, 3], 0.818181818182, 0.785714285714),
    (2, 0.2, 0.2, "optimal", 17, 16, 7, [1, 3, 3], 0.424242424242, 0.459401709402),
    (2, 1.0, 0.5, "optimal", 17, 16, 13, [4, 6, 3], 0.787878787879, 0.779914529915),
    (2, 1.0, 0.5, "greedy", 17, 16, 13, [4, 6, 3], 0.787878787879, 0.779914529915),
    (3, 0.2, 0.2, "optimal", 13, 10, 6, [1, 1, 4], 0.521739130435, 0.490476190476),
    (3, 1.0, 0.5, "optimal", 13, 10, 8, [2, 1, 5], 0.695652173913, 0.671428571429),
    (3, 1.0, 0.5, "greedy", 13, 10, 8, [2, 1, 5], 0.695652173913, 0.671428571429),
    (4, 0.2, 0.2, "optimal", 13, 12, 3, [0, 2, 1], 0.24, 0.21645021645),
    (4, 1.0, 0.5, "optimal", 13, 12, 10, [2, 5, 3], 0.8, 0.779220779221),
    (4, 1.0, 0.5, "greedy", 13, 12, 10, [2, 5, 3], 0.8, 0.779220779221),
    (5, 0.2, 0.2, "optimal", 15, 18, 7, [2, 2, 3], 0.424242424242, 0.502777777778),
    (5, 1.0, 0.5, "optimal", 15, 18, 12, [4, 2, 6], 0.727272727273, 0.738888888889),
    (5, 1.0, 0.5, "greedy", 15, 18, 12, [4, 2, 6], 0.727272727273, 0.738888888889),
)


def _drawn(seed: int) -> tuple[EventList, EventList]:
    """Return events of two recordings and their reference."""
    draw = random.Random(seed)
    found: list[Sound] = []
    wanted: list[Sound] = []
    for number in range(2):
        own = []
        for _ in range(draw.randint(3, 9)):
            start = round(draw.uniform(0, 6), 2)
            own.append(Sound(f"r{number}", start, round(start + draw.uniform(0.1, 3), 2), draw.choice("abc")))
        guesses = []
        for one in own:
            for _ in range(draw.choice((0, 1, 1, 1, 2))):
                start = max(0.0, round(one.start + draw.gauss(0, 0.15), 2))
                end = max(start + 0.05, round(one.end + draw.gauss(0, 0.3), 2))
                label = one.label if draw.random() < 0.85 else draw.choice("abc")
                guesses.append(Sound(one.recording, start, end, label))
        draw.shuffle(guesses)
        found += guesses
        wanted += own
    return _listed(found), _listed(wanted)


def _listed(sounds: Sequence[Sound]) -> EventList:
    return EventList(tuple(sounds), frozenset(one.recording for one in sounds), is_named=True)


@pytest.mark.parametrize(
    ("seed", "collar", "share", "matching", "reference", "found", "right", "of_class", "f1", "macro"), SED_EVAL
)
def test_the_numbers_are_those_of_sed_eval(
    seed: int,
    collar: float,
    share: float,
    matching: Any,
    reference: int,
    found: int,
    right: int,
    of_class: list[int],
    f1: float,
    macro: float,
) -> None:
    result = score(*_drawn(seed), collar=collar, share=share, matching=matching)
    assert result.overall == Tally(reference, found, right)
    assert [result.classes[label].right for label in "abc"] == of_class
    assert result.overall.f1 == pytest.approx(f1, abs=1e-11)
    assert result.macro_f1 == pytest.approx(macro, abs=1e-11)


def test_optimal_matching_finds_a_pair_where_greedy_does_not() -> None:
    wanted = _listed([Sound("r", 1.0, 2.0, "a"), Sound("r", 1.15, 2.0, "a")])
    found = _listed([Sound("r", 1.1, 2.0, "a"), Sound("r", 0.85, 2.0, "a")])
    assert score(found, wanted).overall.right == 2
    assert score(found, wanted, matching="greedy").overall.right == 1
    assert score(_listed([]), wanted).to_json()["overall"]["f1"] == 0
    assert Tally().f1 is None
    with pytest.raises(ClAstError, match="a collar of -1 s"):
        score(found, wanted, collar=-1)


EVENTS = [
    Sound("site1", 1.25, 2.5, "dog", 0.91),
    Sound("site1", 4.0, 4.5, "rain", 0.8),
    Sound("site2", 0.5, 1.0, "dog", 0.75),
]


def _rows() -> list[dict[str, Any]]:
    return [
        {"path": f"deep/{one.recording}.wav", "start": one.start, "end": one.end, "label": one.label, "task": "yard"}
        | {"score_max": one.score, "score_mean": 0.5, "windows": 3}
        for one in EVENTS
    ]


def _write_jsonl(folder: Path) -> None:
    rejected = {"path": "deep/site3.wav", "start": 0.0, "end": 1.0, "label": None, "task": None, "why": "unknown"}
    (folder / "x.jsonl").write_text("\n".join(map(json.dumps, [*_rows(), rejected])))


def _write_csv(folder: Path) -> None:
    rows = _rows()
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    (folder / "x.csv").write_text("\n".join(lines))


def _write_audacity(folder: Path) -> None:
    for name in ("site1", "site2"):
        own = [one for one in EVENTS if one.recording == name]
        (folder / f"{name}.txt").write_text(
            "".join(f"{one.start:.6f}\t{one.end:.6f}\tyard: {one.label} {one.score:.2f}\n" for one in own)
        )


def _write_raven(folder: Path) -> None:
    lines = ["Begin Time (s)\tEnd Time (s)\tBegin Path\tFile Offset (s)\tLabel\tConfidence"]
    for one in EVENTS:
        shift = 60 if one.recording == "site2" else 0
        times = f"{one.start + shift}\t{one.end + shift}"
        lines.append(f"{times}\t/deep/{one.recording}.wav\t{one.start}\t{one.label}\t{one.score}")
    (folder / "x.txt").write_text("\n".join(lines))


@pytest.mark.parametrize("write", [_write_jsonl, _write_csv, _write_audacity, _write_raven])
def test_every_format_is_read_to_the_same_events(write: Any, tmp_path: Path) -> None:
    write(tmp_path)
    found = read_event_list(tmp_path)
    assert sorted(found.sounds, key=lambda one: (one.recording, one.start)) == EVENTS
    assert {"site1", "site2"} <= found.recordings
    result = score(found, _listed(EVENTS))
    assert result.overall == Tally(3, 3, 3)
    assert result.not_in_reference == []


def test_a_folder_with_several_formats_is_read_once(tmp_path: Path) -> None:
    for write in (_write_csv, _write_audacity, _write_jsonl):
        write(tmp_path)
    (tmp_path / "index.json").write_text("{}")
    assert list(read_event_list(tmp_path).sounds) == EVENTS


def test_json_is_read_in_both_forms(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text(json.dumps(_rows()))
    (tmp_path / "object.json").write_text(json.dumps({"events": _rows(), "settings": {}}))
    for name in ("list.json", "object.json"):
        assert list(read_event_list(tmp_path / name).sounds) == EVENTS


def test_label_files_are_of_the_recordings_that_they_are_named_after(tmp_path: Path) -> None:
    for side, names in (("a", ("x.txt", "y.txt")), ("b", ("x.Table.1.selections.txt", "y.wav.txt"))):
        (tmp_path / side).mkdir()
        for number, name in enumerate(names):
            (tmp_path / side / name).write_text(f"{number}.0\t{number + 1}.0\tdog\n")
    result = score(read_event_list(tmp_path / "a"), read_event_list(tmp_path / "b"))
    assert result.overall == Tally(2, 2, 2)
    # Two single label files are of one recording, whatever they are called.
    (tmp_path / "mine.txt").write_text("0.0\t1.0\tdog\n")
    assert score(read_event_list(tmp_path / "mine.txt"), read_event_list(tmp_path / "a" / "x.txt")).overall.right == 1


def test_a_recording_that_the_reference_does_not_name_counts_as_wrong(tmp_path: Path) -> None:
    (tmp_path / "site1.txt").write_text("1.25\t2.5\tdog\n4\t4.5\train\n")
    (tmp_path / "site9.txt").write_text("")  # in which nothing sounds
    result = score(_listed(EVENTS), read_event_list(tmp_path))
    assert result.not_in_reference == ["site2"]
    assert result.overall == Tally(2, 3, 2)
    assert result.recordings == 2


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("x.jsonl", "{", "is not JSON"),
        ("x.jsonl", "[1]", "row 1 is no event"),
        ("x.json", '[{"path": "a.wav", "start": 0, "label": "dog"}]', "entry 1 is no event"),
        ("x.csv", "file,start,end\na.wav,0,1\n", "row 2 is no event"),
        ("x.txt", "no labels\n", r"x\.txt line 1 is no label"),
        ("x.srt", "", "is no list of events"),
        ("x.csv", "file,start,end,label\na/x.wav,0,1,dog\nb/x.wav,0,1,dog\n", "two recordings of one name"),
    ],
)
def test_what_cannot_be_read_is_refused(name: str, text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(StreamError, match=says):
        read_event_list(tmp_path / name)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(text=st.text(), name=st.sampled_from(["x.jsonl", "x.json", "x.csv", "x.txt"]))
def test_any_text_is_events_or_an_error(text: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    try:
        found = read_event_list(tmp_path / name)
    except ClAstError:
        return
    assert score(found, found).overall.right == len(found.sounds)


def test_names_lose_folders_and_endings() -> None:
    assert recording_name("/a/b/2023.01.02.wav") == recording_name("2023.01.02.txt") == "2023.01.02"
    assert recording_name(r"C:\a\site.FLAC") == recording_name("site.flac.txt") == "site"


def test_psds_is_one_for_perfect_events_and_less_where_a_class_is_missed(tmp_path: Path) -> None:
    lengths = {"site1": 10.0, "site2": 10.0}
    found, silent = _listed(EVENTS), _listed([one for one in EVENTS if one.label == "dog"])
    if find_spec("sed_scores_eval") is None:
        with pytest.raises(ClAstError, match=r"pip install 'cl-ast\[psds\]'"):
            psds(found, found, lengths)
        return
    assert psds(found, found, lengths) == 1
    assert psds(silent, found, lengths) == 0  # the mean of 1 and 0, less the standard deviation


def test_psds_needs_the_length_of_each_recording(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "site1.wav", [0.0] * 8_000, 16_000)
    with pytest.raises(ClAstError, match=r"lacks 1 recording \(such as site2\)"):
        seconds_of_recordings(tmp_path, _listed(EVENTS))
    assert seconds_of_recordings(tmp_path, _listed(EVENTS[:2])) == {"site1": 0.5}

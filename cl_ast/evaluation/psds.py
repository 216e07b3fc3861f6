"""The polyphonic sound detection score of events, by the package sed_scores_eval (extra `psds`)."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from cl_ast.audio.reading import read, seconds
from cl_ast.errors import ClAstError
from cl_ast.evaluation.event_lists import EventList, Sound, recording_name
from cl_ast.wording import plural
from streams.durations import stated_seconds
from streams.walk import Obstacle, audio_files

DETECTION = GROUND_TRUTH = 0.7  # shares that must overlap, as in PSDS 1 of DCASE
_MOST_FALSE = 100.0  # an hour
_INSTABILITY = 1.0  # weight of how unequal the classes are
_EMPTY = 0.0


def psds(found: EventList, reference: EventList, lengths: Mapping[str, float]) -> float:
    """Return PSDS 1 (Bilen et al., ICASSP 2020; with the thresholds of Ebbers et al., ICASSP 2022), in [0, 1].

    Each event counts at every threshold up to its score, from its begin to its end. So the events should have been
    found with a low threshold.

    Args:
        lengths: how many seconds each recording of the reference takes, by its name.

    Raises:
        ClAstError: the package is not installed, or events have no scores.
    """
    try:
        from sed_scores_eval import intersection_based
    except ImportError as error:
        raise ClAstError(f"PSDS needs sed_scores_eval ({error}): pip install 'cl-ast[psds]'") from None
    if any(one.score is None for one in found.sounds):
        raise ClAstError("PSDS needs the score of each event; give the JSON lines or CSV of `cl-ast events`")
    labels = sorted({one.label for one in reference.sounds})
    truth: defaultdict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for one in reference.sounds:
        truth[one.recording].append((one.start, min(one.end, lengths[one.recording]), one.label))
    of_recording: defaultdict[str, list[Sound]] = defaultdict(list)
    for one in found.sounds:
        of_recording[one.recording].append(one)
    value, *_ = intersection_based.psds(
        scores={name: _curve(of_recording[name], labels, length) for name, length in lengths.items()},
        ground_truth={name: truth[name] for name in lengths},
        audio_durations=dict(lengths),
        dtc_threshold=DETECTION,
        gtc_threshold=GROUND_TRUTH,
        alpha_st=_INSTABILITY,
        max_efpr=_MOST_FALSE,
    )
    return float(value)


def seconds_of_recordings(folder: Path, reference: EventList) -> dict[str, float]:
    """Return how long the recordings of a reference are, which are in a folder. Raises ClAstError if one is not."""
    found: dict[str, float] = {}
    for one in audio_files(folder):
        if not isinstance(one, Obstacle) and recording_name(one.name) in reference.recordings:
            length = stated_seconds(one)
            found[recording_name(one.name)] = seconds(read(one)) if length is None else length
    missing = sorted(reference.recordings - found.keys())
    if missing:
        raise ClAstError(
            f"{folder} lacks {plural(len(missing), 'recording')} (such as {missing[0]}), whose length PSDS needs"
        )
    return found


def _curve(sounds: list[Sound], labels: list[str], length: float) -> object:
    """Return a recording's scores as sed_scores_eval has them: for each stretch between two borders, one a class."""
    import numpy as np
    from sed_scores_eval.base_modules.scores import create_score_dataframe

    borders = sorted({0.0, length, *(min(time, length) for one in sounds for time in (one.start, one.end))})
    scores = np.full((len(borders) - 1, len(labels)), _EMPTY)
    for one in sounds:
        if one.label in labels:
            part = slice(borders.index(min(one.start, length)), borders.index(min(one.end, length)))
            column = scores[part, labels.index(one.label)]
            column[:] = np.maximum(column, one.score or _EMPTY)
    return create_score_dataframe(scores, np.array(borders), labels)

"""Reads four emotions of IEMOCAP (Busso et al., 2008): https://sail.usc.edu/iemocap/

    Session1/dialog/EmoEvaluation/Ses01F_impro01.txt     [6.2901 - 8.2357]  Ses01F_impro01_F000  neu  […]
    Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav

The emotions are neutral, happy (with excited), sad and angry. Other utterances are left out, and counted. Each of
the ten speakers is a fold: fold 2N-1 is the woman of session N, and fold 2N is the man. Fold K tests, the other
speaker of that session validates, and the other four sessions train.
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cl_ast.errors import StreamError
from cl_ast.wording import plural
from streams.find_files import find_files
from streams.folders import files_in, walk
from streams.records import Collection, Record

SESSIONS = range(1, 6)
LABELS = ("neu", "hap", "sad", "ang")
EMOTIONS = {**{label: label for label in LABELS}, "exc": "hap"}

# The expression is compiled on use, because compiling it takes longer than the rest of the import.
_TURN = r"(?m)^\[[\d.]+ - [\d.]+\]\s+(?P<utterance>\w+_(?P<speaker>[FM])\w*)\s+(?P<emotion>[a-z]+)\s"


class _Turn(NamedTuple):
    """One utterance of a table. Each speaker is a fold."""

    clip: Path
    emotion: str
    fold: str


def read(root: Path) -> Collection:
    """Read every utterance of the four emotions.

    Raises:
        StreamError: a clip is missing, a dialogue has clips and no emotions, or a speaker has none of the four.
    """
    turns = [turn for session in SESSIONS for turn in _session(root, session)]
    unrated = _unrated(root, turns)
    records = [Record(turn.clip, EMOTIONS[turn.emotion], fold=turn.fold) for turn in turns if turn.emotion in EMOTIONS]
    for fold in range(1, 11):
        if str(fold) not in {r.fold for r in records}:
            raise StreamError(
                f"fold {fold}, a speaker of Session{(fold + 1) // 2}, has no utterance of the four emotions; unpack the"
                " whole archive again"
            )
    records = find_files(records, root, "unpack the whole archive again")
    others = Counter(turn.emotion for turn in turns if turn.emotion not in EMOTIONS)
    notes = []
    if others:
        notes.append(f"left out: {plural(others.total(), 'utterance')} of other emotions ({', '.join(sorted(others))})")
    if unrated:
        notes.append(f"left out: {plural(len(unrated), 'clip')} without emotions; the first is {unrated[0].name}")
    return Collection(records, LABELS, tuple(notes))


def _unrated(root: Path, turns: Sequence[_Turn]) -> list[Path]:
    """Return the clips that no table rates.

    Raises:
        StreamError: a whole dialogue is not rated.
    """
    rated = {turn.clip.stem.casefold() for turn in turns}
    dialogues = {turn.clip.parent.name.casefold() for turn in turns}
    clips = [clip for session in SESSIONS for clip in walk(root / f"Session{session}" / "sentences" / "wav")]
    unrated = [clip for clip in clips if clip.suffix.lower() == ".wav" and clip.stem.casefold() not in rated]
    lost = sorted({clip.parent for clip in unrated if clip.parent.name.casefold() not in dialogues})
    if lost:
        first = lost[0].relative_to(root)
        raise StreamError(
            f"{plural(len(lost), 'dialogue')} with clips but no emotions, the first is {first.as_posix()}: there is no"
            f" turn in {first.parts[0]}/dialog/EmoEvaluation/{first.name}.txt; unpack the whole archive again"
        )
    return unrated


def other_speaker_of_session(folds: Sequence[str], test: str) -> str:
    """Return the fold of the other speaker of the session that the test fold belongs to."""
    return str(int(test) + 1 if int(test) % 2 else int(test) - 1)


def _session(root: Path, session: int) -> list[_Turn]:
    """Return every turn of a session's tables, of whatever emotion."""
    folder = root / f"Session{session}"
    turns = []
    for table in files_in(folder / "dialog" / "EmoEvaluation"):
        if table.suffix.lower() == ".txt":
            for turn in re.finditer(_TURN, table.read_text(encoding="latin-1")):
                clip = folder / "sentences" / "wav" / table.stem / f"{turn['utterance']}.wav"
                turns.append(_Turn(clip, turn["emotion"], str(2 * session - (turn["speaker"] == "F"))))
    return turns

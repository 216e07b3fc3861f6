"""Reads four emotions of IEMOCAP (Busso et al., 2008): https://sail.usc.edu/iemocap/

    Session1/dialog/EmoEvaluation/Ses01F_impro01.txt     [6.2901 - 8.2357]  Ses01F_impro01_F000  neu  […]
    Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav

The emotions are neutral, happy (with excited), sad and angry. Other utterances are left out. Each of the ten
speakers is a fold: fold 2N-1 is the woman of session N, and fold 2N is the man. Fold K tests, the other speaker of
that session validates, and the other four sessions train.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from streams.find_files import find_files
from streams.records import Collection, Record

SESSIONS = range(1, 6)
LABELS = ("neu", "hap", "sad", "ang")
EMOTIONS = {**{label: label for label in LABELS}, "exc": "hap"}

# The expression is compiled on use, because compiling it takes longer than the rest of the import.
_TURN = r"(?m)^\[[\d.]+ - [\d.]+\]\s+(?P<utterance>\w+_(?P<speaker>[FM])\w*)\s+(?P<emotion>[a-z]+)\s"


def read(root: Path) -> Collection:
    """Read every utterance of the four emotions.

    Raises:
        StreamError: a clip is missing.
    """
    records = [record for session in SESSIONS for record in _session(root / f"Session{session}", session)]
    records = find_files(records, root, "unpack the whole archive again")
    return Collection(records, LABELS)


def other_speaker_of_session(folds: Sequence[str], test: str) -> str:
    """Return the fold of the other speaker of the session that the test fold belongs to."""
    return str(int(test) + 1 if int(test) % 2 else int(test) - 1)


def _session(folder: Path, session: int) -> list[Record]:
    records = []
    for table in sorted((folder / "dialog" / "EmoEvaluation").glob("[!.]*.txt")):
        for turn in re.finditer(_TURN, table.read_text(encoding="latin-1")):
            label = EMOTIONS.get(turn["emotion"])
            if label is not None:
                clip = folder / "sentences" / "wav" / table.stem / f"{turn['utterance']}.wav"
                fold = 2 * session - (turn["speaker"] == "F")
                records.append(Record(clip, label, fold=str(fold)))
    return records

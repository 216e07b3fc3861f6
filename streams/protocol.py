"""The words of a protocol, the sentence that says how a task was split: numbers of speakers, never their names.

A protocol is exported with its task, so it says who is in which split by counts only. Folds are named where their names
are numbers, as those of the published data sets; other names may be people's.
"""

import re
from collections.abc import Sequence

_NUMBERED = re.compile(r"(fold[ _-]?)?\d{1,3}", re.IGNORECASE)
# How the protocols of older releases begin in which names may be.
_MAY_NAME = re.compile(r"(by )?speakers?\b|folds? ")
_WORDS = frozenset(
    re.findall(
        r"\w+",
        "and balanced be by can class clips data fold folds for in is it its no none not of other others own parts"
        " per rest seed share spared speaker speakers split splits stratified test tests the their there third train"
        " training trains two used validate validates whole",
    )
)
_COUNTS = re.compile(r"\bseed \d{1,10}(?!\w)|\b\d{1,7} (?=speakers? )")
_ONE_SPEAKER = re.compile(r"\bspeakers? \d")
_FEW_SHOT = re.compile(r"; \d{1,6} training clips per class \(seed \d{1,10}\)$")
_NOT_OWN = "; the data's own split is not used: its parts share speakers"


def speakers(count: int, verb: str) -> str:
    """Return a clause such as `1 speaker tests` or `3 speakers train`."""
    return f"1 speaker {verb}s" if count == 1 else f"{count} speakers {verb}"


def is_public(fold: str) -> bool:
    """Return whether the name of a fold is a number, and so tells nothing of anybody."""
    return _NUMBERED.fullmatch(fold) is not None


def folds(names: Sequence[str], verb: str) -> str:
    """Return a clause such as `fold 3 tests` or `folds 1, 2 train`; `2 folds train` where names are not numbers."""
    one = len(names) == 1
    if not all(map(is_public, names)):
        return f"1 fold {verb}s" if one else f"{len(names)} folds {verb}"
    return f"fold {names[0]} {verb}s" if one else f"folds {', '.join(names)} {verb}"


def without_names(protocol: str) -> str:
    """Return a protocol without the names that those of older releases have of speakers and folds.

    Names may have any characters, so such a sentence cannot be taken apart: a general one replaces it.
    """
    if not _MAY_NAME.match(protocol) or _is_plain(protocol):
        return protocol
    kind = "fold" if protocol.startswith("fold") else "speaker"
    ending = _FEW_SHOT.search(protocol)
    return "".join(
        (
            f"by {kind}: each {kind} that tests is in no other split",
            _NOT_OWN if _NOT_OWN in protocol else "",
            ending[0] if ending else "",
        )
    )


def _is_plain(protocol: str) -> bool:
    """Return whether a sentence has only words of protocols and small numbers, and names no speaker by a number."""
    words = re.split(r"[\s,;:()]+", _COUNTS.sub("", protocol).replace("'s", ""))
    plain = all(word in _WORDS or re.fullmatch(r"\d{1,3}%?", word) or is_public(word) for word in words if word)
    return plain and not _ONE_SPEAKER.search(protocol)

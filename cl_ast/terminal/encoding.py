"""Makes standard output and error take any text: what their encoding cannot hold is escaped, and nothing is lost."""

import codecs
import io
import sys
from itertools import takewhile

_HANDLER = "cl-ast"
# Signs of ours that have a plain stand-in.
_PLAIN = {"–": "-", "—": "-", "…": "...", "→": "->", "●": "*", "·": "|", "±": "+-", "≤": "<=", "≥": ">=", "×": "x"}


def prepare_streams() -> None:
    """Let standard output and error escape what they cannot encode, instead of failing after the work is done."""
    codecs.register_error(_HANDLER, _escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def fits(text: str) -> bool:
    """Return whether standard output can hold a text as it is."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _escaped(error: UnicodeError) -> tuple[str | bytes, int]:
    """Return a stand-in for the characters that an encoding cannot hold.

    A byte of a file name that is not text becomes that byte again, so that the name can be used as it was printed.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    bad = error.object[error.start : error.end]
    raw = "".join(takewhile(_is_raw_byte, bad))
    if raw:
        return raw.encode("ascii", "surrogateescape"), error.start + len(raw)
    plain = "".join(takewhile(lambda one: not _is_raw_byte(one), bad))
    return "".join(_PLAIN.get(one) or _backslashed(one) for one in plain), error.start + len(plain)


def _is_raw_byte(character: str) -> bool:
    """Return whether a character stands for a byte that Python could not decode in a file name."""
    return "\udc80" <= character <= "\udcff"


def _backslashed(character: str) -> str:
    return character.encode("ascii", "backslashreplace").decode("ascii")

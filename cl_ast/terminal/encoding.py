"""Makes standard output and error take any text: what their encoding cannot hold is escaped, and nothing is lost."""

import codecs
import io
import sys

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
    """Return a stand-in for the characters that an encoding cannot hold."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    bad = error.object[error.start : error.end]
    return "".join(_PLAIN.get(one) or _backslashed(one) for one in bad), error.end


def _backslashed(character: str) -> str:
    return character.encode("ascii", "backslashreplace").decode("ascii")

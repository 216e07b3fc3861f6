"""The front ends there are, and how a file says which one a task has."""

from collections.abc import Mapping
from typing import Any

from cl_ast.audio.log_mel import FrontEnd
from cl_ast.audio.raw_samples import WaveformFrontEnd

AnyFrontEnd = FrontEnd | WaveformFrontEnd


def from_words(words: Mapping[str, Any]) -> AnyFrontEnd:
    """What `dataclasses.asdict` made of a front end, and a file holds; log-mel, the first one, has no `kind`.

    Raises:
        AudioError: a length that cannot be used.
        KeyError, TypeError: not a front end of this cl-ast.
    """
    given = dict(words)
    if "kind" not in given:
        return FrontEnd(**given)
    return {"waveform": WaveformFrontEnd}[given.pop("kind")](**given)

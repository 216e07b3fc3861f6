"""The front ends there are, and how a file says which one a task has."""

from collections.abc import Mapping
from typing import Any

from cl_ast.audio.log_mel import LogMelFrontEnd
from cl_ast.audio.raw_samples import WaveformFrontEnd

FrontEnd = LogMelFrontEnd | WaveformFrontEnd


def from_words(words: Mapping[str, Any]) -> FrontEnd:
    """What `dataclasses.asdict` made of a front end, and a file holds; log-mel, the first one, has no `kind`.

    Raises:
        AudioError: a length that cannot be used.
        KeyError, TypeError: not a front end of this cl-ast.
    """
    given = dict(words)
    if "kind" not in given:
        return LogMelFrontEnd(**given)
    return {"waveform": WaveformFrontEnd}[given.pop("kind")](**given)

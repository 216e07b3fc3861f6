"""The types of front end, and how a task's file describes the one that it uses."""

from collections.abc import Mapping
from typing import Any

from cl_ast.audio.log_mel import LogMelFrontEnd
from cl_ast.audio.raw_samples import WaveformFrontEnd

FrontEnd = LogMelFrontEnd | WaveformFrontEnd


def from_dict(fields: Mapping[str, Any]) -> FrontEnd:
    """Return the front end that `dataclasses.asdict` turned into these fields.

    Log-mel has no `kind`, since it was the only front end when the file format was made.

    Raises:
        AudioError: its length is not allowed.
        KeyError, TypeError: the fields are not those of a front end of this release.
    """
    arguments = dict(fields)
    if "kind" not in arguments:
        return LogMelFrontEnd(**arguments)
    return {"waveform": WaveformFrontEnd}[arguments.pop("kind")](**arguments)

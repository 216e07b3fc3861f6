"""espeak-ng in this process, through its C library: text to samples with the time of each phoneme.

After `espeak-ng/speak_lib.h` of espeak-ng 1.51 (https://github.com/espeak-ng/espeak-ng). A word takes a few
milliseconds this way, where starting the program costs tens. Needed to pretrain only, never to use the backbone.
"""

import ctypes
import ctypes.util
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_ast.errors import TrainingError

_SYNCHRONOUS = 2
_PHONEME_EVENTS_IPA_NO_EXIT = 0x0001 | 0x0002 | 0x8000
_UTF8 = 1
_LIST_TERMINATED, _PHONEME = 0, 7
_RATE, _VOLUME, _PITCH, _RANGE, _WORDGAP = 1, 2, 3, 4, 7


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True, slots=True)
class Spoken:
    """Samples at `rate` Hz, and (IPA, start sample) of every phoneme in order; pauses have an empty name."""

    samples: NDArray[np.float32]
    rate: int
    phonemes: list[tuple[str, int]]


class Espeak:
    """The library, initialised once for the process: espeak-ng keeps its state in globals."""

    def __init__(self) -> None:
        name = ctypes.util.find_library("espeak-ng")
        if name is None:
            raise TrainingError("espeak-ng is not installed; `apt-get install espeak-ng` to pretrain ast-mini")
        self._lib = ctypes.CDLL(name)
        self.rate = int(self._lib.espeak_Initialize(_SYNCHRONOUS, 0, None, _PHONEME_EVENTS_IPA_NO_EXIT))
        if self.rate <= 0:
            raise TrainingError("espeak-ng did not start; reinstall it with its espeak-ng-data")
        self._blocks: list[NDArray[np.float32]] = []
        self._phonemes: list[tuple[str, int]] = []
        self._callback = _CALLBACK(self._receive)  # kept: C holds the pointer only
        self._lib.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            block = np.ctypeslib.as_array(samples, shape=(count,)).astype(np.float32)
            self._blocks.append(block / np.float32(32768))
        index = 0
        while events[index].type != _LIST_TERMINATED:
            event = events[index]
            if event.type == _PHONEME:
                raw = bytes(ctypes.string_at(ctypes.addressof(event.id), 8))
                self._phonemes.append((raw.split(b"\0")[0].decode("utf-8", "ignore"), event.sample))
            index += 1
        return 0

    def voice(self, name: str) -> bool:
        """Select a voice, such as `de` or `en-us+f3`; False where this installation has none of that name."""
        return int(self._lib.espeak_SetVoiceByName(name.encode())) == 0

    def say(
        self,
        text: str,
        *,
        rate: int = 175,
        pitch: int = 50,
        spread: int = 50,
        volume: int = 100,
        gap: int = 0,
    ) -> Spoken:
        """Synthesise: `rate` in words a minute; `pitch` and `spread` (its range) 0..100 of the voice's."""
        for parameter, value in (
            (_RATE, rate), (_PITCH, pitch), (_RANGE, spread), (_VOLUME, volume), (_WORDGAP, gap),
        ):  # fmt: skip
            self._lib.espeak_SetParameter(parameter, value, 0)
        self._blocks, self._phonemes = [], []
        data = text.encode()
        self._lib.espeak_Synth(data, len(data) + 1, 0, 1, 0, _UTF8, None, None)
        self._lib.espeak_Synchronize()
        samples = np.concatenate(self._blocks) if self._blocks else np.zeros(0, np.float32)
        return Spoken(samples, self.rate, self._phonemes)


@lru_cache(maxsize=1)
def espeak() -> Espeak:
    """The one instance of this process."""
    return Espeak()


def available() -> bool:
    """Whether speech can be synthesised here."""
    return ctypes.util.find_library("espeak-ng") is not None

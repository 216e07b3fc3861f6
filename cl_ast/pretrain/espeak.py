"""Calls espeak-ng through its C library, which turns text into samples and gives the time of each phoneme.

The constants and structures are those of `espeak-ng/speak_lib.h` in espeak-ng 1.51
(https://github.com/espeak-ng/espeak-ng). A word takes a few milliseconds this way, where starting the program takes
tens. Only pretraining needs espeak-ng; using the backbone does not.
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
    """Synthesised speech.

    Attributes:
        samples: the waveform in -1..1 (samples,).
        rate: the sampling rate in Hz.
        phonemes: IPA and first sample of every phoneme, in order. A pause has an empty IPA.
    """

    samples: NDArray[np.float32]
    rate: int
    phonemes: list[tuple[str, int]]


class Espeak:
    """The espeak-ng library. It may be initialised only once per process, because it keeps its state in globals.

    Raises:
        TrainingError: espeak-ng is not installed or does not start.
    """

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
        self._callback = _CALLBACK(self._receive)  # kept here, because C has only a pointer to it
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
        """Select a voice, such as `de` or `en-us+f3`. Return False if this installation has no voice of that name."""
        return int(self._lib.espeak_SetVoiceByName(name.encode())) == 0

    def say(
        self,
        text: str,
        *,
        rate: int = 175,
        pitch: int = 50,
        pitch_range: int = 50,
        volume: int = 100,
        gap: int = 0,
    ) -> Spoken:
        """Synthesise a text.

        Args:
            text: the text to say.
            rate: words per minute.
            pitch: from 0 to 100; 50 is the voice's own.
            pitch_range: how much the pitch moves, from 0 to 100; 50 is the voice's own.
            volume: from 0 to 200; 100 is normal.
            gap: extra pause between words, in units of 10 ms.
        """
        for parameter, value in (
            (_RATE, rate), (_PITCH, pitch), (_RANGE, pitch_range), (_VOLUME, volume), (_WORDGAP, gap),
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
    """Return the one instance of this process."""
    return Espeak()


def available() -> bool:
    """Return whether speech can be synthesised on this machine."""
    return ctypes.util.find_library("espeak-ng") is not None

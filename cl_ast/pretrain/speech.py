"""Renders synthetic speech: words and random phrases in many languages and voices, with prosody as labels.

The vocabulary (`words.json`) follows one rule that does not depend on any test: the most frequent words of three or
more letters of each language, in wordfreq's order. Phrases are drawn at random from the same lists, so they are not
the sentences of any data set. The prosody of the eight moods follows the common findings on vocal emotion (Scherer,
Speech Communication 40, 2003): pitch, pitch range, rate, energy and spectral tilt move together.
"""

import json
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources

import numpy as np
import soxr
from numpy.random import Generator
from numpy.typing import NDArray

from cl_ast.pretrain.dsp import SR, Signal, loguniform, normalise, power_law, reverberate, shape, uniform
from cl_ast.pretrain.espeak import espeak

# How many words of a language are classes. The words of other languages appear in phrases only.
CLASS_WORDS = {"en": 240, "ar": 40, "de": 40, "es": 40, "fr": 40, "it": 40, "ru": 40, "tr": 40, "hi": 40}
_ENGLISH = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-us-nyc")
# The human-like variants of espeak-ng 1.51. Novelty voices (robots, demons) are left out.
VARIANTS = (
    "Alex", "Alicia", "Andrea", "Andy", "Annie", "Denis", "Diogo", "Gene", "Gene2", "Henrique", "Hugo",
    "Jacky", "Lee", "Marco", "Mario", "Michael", "Mike", "Tweaky", "adam", "anika", "antonio", "aunty",
    "belinda", "benjamin", "boris", "caleb", "croak", "david", "ed", "edward", "edward2", "f1", "f2", "f3",
    "f4", "f5", "grandma",
    "grandpa", "gustave", "iven", "iven2", "iven3", "john", "kaukovalta", "klatt", "klatt2", "klatt3",
    "klatt4", "klatt5", "klatt6", "linda", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "marcelo", "max",
    "michel",
    "miguel", "norbert", "pablo", "paul", "pedro", "quincy", "rob", "robert", "sandro", "shelby", "steph",
    "steph2",     "travis", "victor", "whisper", "whisperf", "zac",
)  # fmt: skip
# pitch and pitch range (0 to 100), words per minute, spectral tilt in dB per octave, level in dB
MOODS = {
    "neutral": (50, 45, 170, 0.0, 0.0),
    "joyful": (70, 90, 200, 1.5, 3.0),
    "angry": (60, 80, 220, 3.0, 6.0),
    "sad": (38, 18, 125, -2.5, -6.0),
    "bored": (35, 12, 145, -1.0, -3.0),
    "afraid": (80, 35, 250, 1.0, 0.0),
    "disgusted": (40, 65, 130, 1.0, 1.0),
    "calm": (45, 30, 140, -1.5, -3.0),
}
# IPA base letters that are classes of their own. All others share one last class.
PHONEMES = "aɑæɐbcdðeəɛɜfɡhɦħiɪjklmnŋoɔɒpɹrɾʁsʃtθuʊʌvwxyøzʒʔɯɨʕqβɣɲʎɟ"


@lru_cache(maxsize=1)
def vocabulary() -> dict[str, list[str]]:
    """Return the words of each language, most frequent first."""
    text = resources.files("cl_ast.pretrain").joinpath("words.json").read_text(encoding="utf-8")
    words: dict[str, list[str]] = json.loads(text)["words"]
    return words


@lru_cache(maxsize=1)
def word_classes() -> dict[tuple[str, str], int]:
    """Return the class of each (language, word) that is one."""
    pairs = [(lang, word) for lang, count in CLASS_WORDS.items() for word in vocabulary()[lang][:count]]
    return {pair: index for index, pair in enumerate(pairs)}


def languages() -> list[str]:
    """Return the codes of the languages in the order of their labels."""
    return list(vocabulary())


def phoneme_class(ipa: str) -> int:
    """Return the class of an IPA symbol by its base letter. Classes start at 1, and 0 is a pause."""
    if not ipa:
        return 0
    index = PHONEMES.find(ipa[0])
    return (index if index >= 0 else len(PHONEMES)) + 1


@dataclass(slots=True)
class Utterance:
    """A rendered clip with its labels.

    Attributes:
        samples: the waveform at 16 kHz.
        word: the class of the word, or -1 for a phrase.
        language, voice, mood: their labels.
        prosody: pitch, pitch range, rate and tilt, about -1 to 1 each.
        phonemes: class and first sample of each phoneme.
    """

    samples: Signal
    word: int
    language: int
    voice: int
    mood: int
    prosody: list[float]
    phonemes: list[tuple[int, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Manner:
    """How an utterance is said, in the units of `MOODS`."""

    pitch: float
    pitch_range: float
    rate: float
    tilt: float
    level: float


def render(rng: Generator, *, phrase: bool, limit: int) -> Utterance | None:
    """Render one utterance of at most `limit` samples at 16 kHz, or None if espeak-ng cannot say what was drawn."""
    language, words = _draw_phrase(rng) if phrase else _draw_word(rng)
    voice = int(rng.integers(len(VARIANTS)))
    accent = _ENGLISH[int(rng.integers(len(_ENGLISH)))] if language == "en" else language
    speaker = espeak()
    if not speaker.voice(f"{accent}+{VARIANTS[voice]}"):
        return None
    mood = int(rng.integers(len(MOODS)))
    manner = _draw_manner(rng, mood)
    said = speaker.say(
        " ".join(words),
        rate=int(manner.rate),
        pitch=int(manner.pitch),
        pitch_range=int(manner.pitch_range),
        gap=int(rng.integers(0, 4)),
    )
    if len(said.samples) < said.rate // 20 or np.abs(said.samples).max() < 1e-3:
        return None
    scale = float(np.exp(rng.normal(0.04, 0.09)))
    step = SR / (said.rate * scale)
    return Utterance(
        samples=_finish(rng, _resize_speaker(said.samples, said.rate, scale), manner)[:limit],
        word=-1 if phrase else word_classes()[language, words[0]],
        language=languages().index(language),
        voice=voice,
        mood=mood,
        prosody=[
            (manner.pitch - 50) / 30,
            (manner.pitch_range - 50) / 40,
            float(np.log(manner.rate * scale / 170)) * 2,
            manner.tilt / 3,
        ],
        phonemes=[(phoneme_class(ipa), int(start * step)) for ipa, start in said.phonemes],
    )


def _draw_phrase(rng: Generator) -> tuple[str, list[str]]:
    """Draw a language and two to seven of its 100 most frequent words."""
    names = languages()
    language = names[int(rng.integers(len(names)))]
    words = vocabulary()[language]
    return language, [words[int(i)] for i in rng.integers(0, 100, int(rng.integers(2, 8)))]


def _draw_word(rng: Generator) -> tuple[str, list[str]]:
    """Draw a language and one of its words that are classes."""
    pairs = list(word_classes())
    language, word = pairs[int(rng.integers(len(pairs)))]
    return language, [word]


def _draw_manner(rng: Generator, mood: int) -> _Manner:
    """Draw random deviations from the prosody of a mood."""
    pitch, pitch_range, rate, tilt, level = map(float, list(MOODS.values())[mood])
    return _Manner(
        pitch=float(np.clip(pitch + rng.normal(0, 10), 0, 99)),
        pitch_range=float(np.clip(pitch_range + rng.normal(0, 10), 0, 99)),
        rate=float(np.clip(rate * np.exp(rng.normal(0, 0.15)), 90, 380)),
        tilt=tilt + float(rng.normal(0, 0.7)),
        level=level,
    )


def _resize_speaker(samples: NDArray[np.float32], rate: int, scale: float) -> Signal:
    """Resample to 16 kHz, `scale` times faster, which moves pitch and formants together as a speaker's size does."""
    return np.asarray(soxr.resample(samples, rate * scale, SR, quality="MQ"), dtype=np.float64)


def _finish(rng: Generator, x: Signal, manner: _Manner) -> Signal:
    """Apply the spectral tilt, the room for a quarter of the clips, and the level."""
    x = shape(x, power_law(-manner.tilt / 6.02))
    if rng.random() < 0.25:
        x = reverberate(rng, x, loguniform(rng, 0.1, 0.8), uniform(rng, 0.05, 0.6))
    return normalise(x, 0.1 * 10 ** (manner.level / 20))

"""Synthetic speech: words and random phrases in many languages and voices, with prosody as labels.

The vocabulary (`words.json`) follows one rule that knows nothing of any test: the most frequent words of
three or more letters of each language, in wordfreq's order. Phrases are random draws from the same lists, so
they are no one's sentences. Prosody follows eight moods after the common findings on vocal emotion (Scherer,
Speech Communication 40, 2003): pitch, its range, rate, energy and spectral tilt move together.
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

# Languages whose words are also classes, with how many; the rest appear in phrases only.
CLASS_WORDS = {"en": 240, "ar": 40, "de": 40, "es": 40, "fr": 40, "it": 40, "ru": 40, "tr": 40, "hi": 40}
_ENGLISH = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-us-nyc")
# The human-like variants of espeak-ng 1.51; novelty voices (robots, demons) are left out.
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
# pitch, pitch range, words a minute (espeak's scales), tilt in dB an octave, level in dB
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
# IPA base letters that are classes of their own; anything else joins the last class.
PHONEMES = "aɑæɐbcdðeəɛɜfɡhɦħiɪjklmnŋoɔɒpɹrɾʁsʃtθuʊʌvwxyøzʒʔɯɨʕqβɣɲʎɟ"


@lru_cache(maxsize=1)
def vocabulary() -> dict[str, list[str]]:
    """The words of each language, most frequent first."""
    text = resources.files("cl_ast.pretrain").joinpath("words.json").read_text(encoding="utf-8")
    words: dict[str, list[str]] = json.loads(text)["words"]
    return words


@lru_cache(maxsize=1)
def word_classes() -> dict[tuple[str, str], int]:
    """The index of each (language, word) that is a class."""
    pairs = [(lang, word) for lang, count in CLASS_WORDS.items() for word in vocabulary()[lang][:count]]
    return {pair: index for index, pair in enumerate(pairs)}


def languages() -> list[str]:
    """Language codes in the order of their labels."""
    return list(vocabulary())


def phoneme_class(ipa: str) -> int:
    """1-based class of an IPA symbol by its base letter; 0 is a pause."""
    if not ipa:
        return 0
    index = PHONEMES.find(ipa[0])
    return (index if index >= 0 else len(PHONEMES)) + 1


@dataclass(slots=True)
class Utterance:
    """A rendered clip and what is known of it."""

    samples: Signal
    word: int  # -1: a phrase
    language: int
    voice: int
    mood: int
    prosody: list[float]  # pitch, range, rate, tilt: about -1..1 each
    phonemes: list[tuple[int, int]] = field(default_factory=list)  # (class, first sample at 16 kHz)


def _mouth(samples: NDArray[np.float32], rate: int, scale: float) -> Signal:
    """To 16 kHz, read `scale` times faster: pitch and formants move together, as with a speaker's size."""
    return np.asarray(soxr.resample(samples, rate * scale, SR, quality="MQ"), dtype=np.float64)


def render(rng: Generator, *, phrase: bool, limit: int) -> Utterance | None:
    """One utterance of at most `limit` samples; None where espeak-ng has nothing to say for the draw."""
    words, names = vocabulary(), languages()
    if phrase:
        language = names[int(rng.integers(len(names)))]
        chosen = [words[language][int(i)] for i in rng.integers(0, 100, int(rng.integers(2, 8)))]
    else:
        pairs = list(word_classes())
        language, word = pairs[int(rng.integers(len(pairs)))]
        chosen = [word]
    voice = int(rng.integers(len(VARIANTS)))
    accent = _ENGLISH[int(rng.integers(len(_ENGLISH)))] if language == "en" else language
    speaker = espeak()
    if not speaker.voice(f"{accent}+{VARIANTS[voice]}"):
        return None
    mood = int(rng.integers(len(MOODS)))
    pitch, spread, rate, tilt, level = map(float, list(MOODS.values())[mood])
    pitch = float(np.clip(pitch + rng.normal(0, 10), 0, 99))
    spread = float(np.clip(spread + rng.normal(0, 10), 0, 99))
    rate = float(np.clip(rate * np.exp(rng.normal(0, 0.15)), 90, 380))
    tilt += float(rng.normal(0, 0.7))
    said = speaker.say(
        " ".join(chosen), rate=int(rate), pitch=int(pitch), spread=int(spread), gap=int(rng.integers(0, 4))
    )
    if len(said.samples) < said.rate // 20 or np.abs(said.samples).max() < 1e-3:
        return None
    scale = float(np.exp(rng.normal(0.04, 0.09)))
    x = _mouth(said.samples, said.rate, scale)
    x = shape(x, power_law(-tilt / 6.02))
    if rng.random() < 0.25:
        x = reverberate(rng, x, loguniform(rng, 0.1, 0.8), uniform(rng, 0.05, 0.6))
    x = normalise(x, 0.1 * 10 ** (level / 20))[:limit]
    step = SR / (said.rate * scale)
    phonemes = [(phoneme_class(name), int(start * step)) for name, start in said.phonemes]
    return Utterance(
        samples=x,
        word=-1 if phrase else word_classes()[language, chosen[0]],
        language=names.index(language),
        voice=voice,
        mood=mood,
        prosody=[(pitch - 50) / 30, (spread - 50) / 40, float(np.log(rate * scale / 170)) * 2, tilt / 3],
        phonemes=phonemes,
    )

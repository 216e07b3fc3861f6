"""Small sounds of two classes a task, and the clips of them."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import soundfile

from cl_ast.audio.reading import Waveform

RATE = 16_000
SECONDS = 0.5

Signal = Callable[[np.random.Generator, np.ndarray], np.ndarray]
SOUNDS: Mapping[str, Mapping[str, Signal]] = {
    "tones": {
        "low": lambda random, t: np.sin(2 * np.pi * random.uniform(200, 400) * t),
        "high": lambda random, t: np.sin(2 * np.pi * random.uniform(2000, 4000) * t),
    },
    "noises": {
        "hiss": lambda random, t: 0.3 * random.normal(size=len(t)),
        "clicks": lambda random, t: (random.random(len(t)) < 0.005) * random.uniform(0.5, 1, len(t)),
    },
    "chirps": {
        "up": lambda random, t: np.sin(2 * np.pi * (300 * t + random.uniform(1000, 2000) * t**2)),
        "down": lambda random, t: np.sin(2 * np.pi * (3000 * t - random.uniform(1000, 2000) * t**2)),
    },
}


def hiss_and_clicks() -> Waveform:
    """Return nine seconds, a second each of hiss, silence and clicks, three times."""
    random, found = np.random.default_rng(3), []
    for _ in range(3):
        clicks = (random.random(RATE) < 0.005) * random.uniform(0.5, 1, RATE)
        found += [0.3 * random.normal(size=RATE), np.zeros(RATE), clicks]
    return np.clip(np.concatenate(found), -1, 0.999).astype(np.float32)


def write_clips(folder: Path, sounds: Mapping[str, Signal], clips: int = 10, seed: int = 0) -> Path:
    random = np.random.default_rng(seed)
    time = np.arange(round(SECONDS * RATE)) / RATE
    for label, sound in sounds.items():
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(clips):
            samples = (random.uniform(0.3, 0.6) * sound(random, time)).astype(np.float32)
            soundfile.write(folder / label / f"{number:02}.wav", samples, RATE, subtype="PCM_16")
    return folder

"""Makes recordings with sounds at known times over noise, and clips and noise from which a task learns them."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile

import streams as data_sets
from cl_ast.audio.clip_reader import read_all
from cl_ast.audio.reading import SAMPLE_RATE, Waveform
from cl_ast.evaluation.event_lists import Sound

WINDOW = 0.96  # seconds: six steps of ast-mini
RECORDING = 120.0  # seconds
MOST_TAUGHT = 1_000  # clips of a split
LOUDEST, QUIETEST = 20.0, 0.0  # dB over the background
_BELOW_PEAK = 1e-3  # of a clip's power, 30 dB: what is quieter at its ends is no part of the event
_BLOCK = SAMPLE_RATE // 100
_NOISE = 0.01  # the RMS of the noise

Scape = tuple[Waveform, list[Sound]]


def soundscapes(clips: Sequence[data_sets.Clip], minutes: float, seed: int) -> list[Scape]:
    """Return recordings of two minutes with sounds at known times."""
    random = np.random.default_rng(seed)
    waveforms = read_all([clip.place for clip in clips])
    found = []
    for number in range(max(1, round(60 * minutes / RECORDING))):
        samples = noise(random, round(RECORDING * SAMPLE_RATE))
        sounds, place = [], round(random.uniform(1, 4) * SAMPLE_RATE)
        while True:
            chosen = int(random.integers(len(clips)))
            one = _sounding(waveforms[chosen])[: 4 * SAMPLE_RATE]
            if place + len(one) > len(samples):
                break
            samples[place : place + len(one)] += _at_level(one, random)
            at = place / SAMPLE_RATE
            sounds.append(Sound(str(number), at, at + len(one) / SAMPLE_RATE, clips[chosen].label))
            place += len(one) + round(random.uniform(1, 4) * SAMPLE_RATE)
        found.append((samples, sounds))
    return found


def _at_level(sound: Waveform, random: np.random.Generator) -> Waveform:
    """Return a sound at a random level between the quietest and the loudest over the noise."""
    level = 10 ** (random.uniform(QUIETEST, LOUDEST) / 20)
    found: Waveform = sound * np.float32(_NOISE * level / max(1e-9, math.sqrt(float(np.mean(sound**2)))))
    return found


def over_noise(task: data_sets.Task, folder: Path) -> data_sets.Task:
    """Write clips of a task over noise, and return them as a task of the same name."""
    random = np.random.default_rng(4)
    splits = {"train": task.train, "validation": task.validation, "test": task.validation[:1]}
    for split, clips in splits.items():
        chosen = [clips[number] for number in random.permutation(len(clips))[:MOST_TAUGHT]]
        for number, (clip, waveform) in enumerate(zip(chosen, read_all([one.place for one in chosen]), strict=True)):
            sound = _sounding(waveform)[: 4 * SAMPLE_RATE]
            samples = noise(random, max(len(sound), round(WINDOW * SAMPLE_RATE)))
            first = (len(samples) - len(sound)) // 2
            samples[first : first + len(sound)] += _at_level(sound, random)
            place = folder / task.name / split / clip.label / f"{number}.wav"
            place.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(place, samples, SAMPLE_RATE, subtype="FLOAT")
    return replace(data_sets.load(folder / task.name), clip_seconds=WINDOW)


def noise(random: np.random.Generator, samples: int) -> Waveform:
    """Return noise that has less power at high frequencies, like wind or a room."""
    spectrum = np.fft.rfft(random.normal(size=samples))
    spectrum /= np.sqrt(np.maximum(np.fft.rfftfreq(samples, 1 / SAMPLE_RATE), 50.0))
    made = np.fft.irfft(spectrum, samples)
    found: Waveform = (_NOISE * made / made.std()).astype(np.float32)
    return found


def _sounding(waveform: Waveform) -> Waveform:
    """Return a clip without what is silent at its beginning and end, to 10 ms."""
    blocks = waveform[: len(waveform) // _BLOCK * _BLOCK].reshape(-1, _BLOCK)
    powers = np.square(blocks).mean(axis=1)
    loud = np.flatnonzero(powers >= _BELOW_PEAK * powers.max(initial=0.0))
    return waveform if not len(loud) else waveform[loud[0] * _BLOCK : (loud[-1] + 1) * _BLOCK]


def noise_alone(folder: Path) -> Path:
    """Write a minute of noise like that of the soundscapes, but not theirs; return its folder."""
    folder.mkdir()
    random = np.random.default_rng(9)
    for number in range(6):
        soundfile.write(folder / f"{number}.wav", noise(random, 10 * SAMPLE_RATE), SAMPLE_RATE)
    return folder

"""Measures events in long recordings: how well they are found, how fast, in what memory, and how late.

    python -m benchmarks streams                                   synthetic tasks, as `cl-ast demo` makes them
    python -m benchmarks.streams --data FOLDER... --minutes 60 --hours 24

Soundscapes are made of the test clips of a task at known times, at 0 to 20 dB over coloured noise. All ways to find
events get the same windows, so the same number of passes, and the threshold that is best for them on soundscapes of the
validation clips. The task was taught its training clips over noise of the same kind, and the router noise alone, so
that it knows windows with a sound and may call those without one unknown.
"""

import argparse
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile

import streams as data_sets
from benchmarks.rows import Row
from cl_ast import Manager
from cl_ast.audio.clip_reader import read_all
from cl_ast.audio.reading import SAMPLE_RATE, Waveform
from cl_ast.evaluation.event_lists import EventList, Sound
from cl_ast.evaluation.event_score import score
from cl_ast.events import EventDetector, EventSettings, ScoredWindow, StreamDetector, Threshold, WindowScorer
from cl_ast.terminal.demo_story import make_clips

WINDOW = 0.96  # seconds: six steps of ast-mini
HOPS = (0.96, 0.48, 0.16)
THRESHOLDS = [round(0.3 + 0.05 * number, 2) for number in range(14)]
RECORDING = 120.0  # seconds
MOST_TAUGHT = 1_000  # clips of a split
LOUDEST, QUIETEST = 20.0, 0.0  # dB over the background
_BELOW_PEAK = 1e-3  # of a clip's power, 30 dB: what is quieter at its ends is no part of the event
_BLOCK = 160

Scape = tuple[Waveform, list[Sound]]
Scored = tuple[WindowScorer, list[tuple[list[ScoredWindow], int]]]


def soundscapes(clips: Sequence[data_sets.Clip], minutes: float, seed: int) -> list[Scape]:
    """Return recordings of two minutes with sounds at known times."""
    random = np.random.default_rng(seed)
    waveforms = read_all([clip.place for clip in clips])
    found = []
    for number in range(max(1, round(60 * minutes / RECORDING))):
        samples = _noise(random, round(RECORDING * SAMPLE_RATE))
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
    found: Waveform = sound * np.float32(0.01 * level / max(1e-9, math.sqrt(float(np.mean(sound**2)))))
    return found


def over_noise(task: data_sets.Task, folder: Path) -> data_sets.Task:
    """Write clips of a task over noise, and return a task of the same name that has learned how they sound there."""
    random = np.random.default_rng(4)
    splits = {"train": task.train, "validation": task.validation, "test": task.validation[:1]}
    for split, clips in splits.items():
        chosen = [clips[number] for number in random.permutation(len(clips))[:MOST_TAUGHT]]
        for number, (clip, waveform) in enumerate(zip(chosen, read_all([one.place for one in chosen]), strict=True)):
            sound = _sounding(waveform)[: 4 * SAMPLE_RATE]
            samples = _noise(random, max(len(sound), round(WINDOW * SAMPLE_RATE)))
            first = (len(samples) - len(sound)) // 2
            samples[first : first + len(sound)] += _at_level(sound, random)
            place = folder / task.name / split / clip.label / f"{number}.wav"
            place.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(place, samples, SAMPLE_RATE, subtype="FLOAT")
    return replace(data_sets.load(folder / task.name), clip_seconds=WINDOW)


def _noise(random: np.random.Generator, samples: int) -> Waveform:
    """Return noise of RMS 0.01 that has less power at high frequencies, like wind or a room."""
    spectrum = np.fft.rfft(random.normal(size=samples))
    spectrum /= np.sqrt(np.maximum(np.fft.rfftfreq(samples, 1 / SAMPLE_RATE), 50.0))
    noise = np.fft.irfft(spectrum, samples)
    found: Waveform = (0.01 * noise / noise.std()).astype(np.float32)
    return found


def _sounding(waveform: Waveform) -> Waveform:
    """Return a clip without what is silent at its beginning and end, to 10 ms."""
    blocks = waveform[: len(waveform) // _BLOCK * _BLOCK].reshape(-1, _BLOCK)
    powers = np.square(blocks).mean(axis=1)
    loud = np.flatnonzero(powers >= _BELOW_PEAK * powers.max(initial=0.0))
    return waveform if not len(loud) else waveform[loud[0] * _BLOCK : (loud[-1] + 1) * _BLOCK]


def scored(manager: Manager, scapes: Sequence[Scape], settings: EventSettings) -> Scored:
    """Score the windows of soundscapes once."""
    scorer = WindowScorer(manager.session, settings)
    found = []
    for samples, _ in scapes:
        windows: list[ScoredWindow] = []
        detector = StreamDetector(scorer, group=32, watch=windows.append)
        detector.add(samples)
        detector.finish()
        found.append((windows, len(samples)))
    return scorer, found


def detected(given: Scored, on: float) -> list[Sound]:
    """Return the events that `cl-ast events` finds, with this threshold."""
    scorer, recordings = given
    settings = replace(scorer.settings, threshold=Threshold.of(on))
    found = []
    for number, (windows, samples) in enumerate(recordings):
        detector = EventDetector("", settings, scorer.step, scorer.hop)
        events = [event for window in windows for event in detector.add(window)] + detector.finish(samples)
        found += [Sound(str(number), one.start, one.end, str(one.label)) for one in events if not one.why]
    return found


def merged(given: Scored, on: float) -> list[Sound]:
    """Return neighbouring windows with the same best label as one event, as tools without a grid do."""
    found: list[Sound] = []
    for number, (windows, _) in enumerate(given[1]):
        last: Sound | None = None
        for window in windows:
            if not window.tasks:  # unknown
                last = None
                continue
            (task,) = window.tasks
            scores = task.scores.mean(axis=0)
            start, end = window.first / SAMPLE_RATE, window.stop / SAMPLE_RATE
            best = int(scores.argmax())
            if scores[best] < on:
                last = None
            elif last is not None and last.label == task.labels[best]:
                found[-1] = last = replace(last, end=end)
            else:
                last = Sound(str(number), start, end, task.labels[best])
                found.append(last)
    return found


def best_f1(
    find: Callable[[Scored, float], list[Sound]], tuning: Scored, test: Scored, scapes: Sequence[list[Scape]]
) -> float:
    """Return the F1 (200 ms) on test soundscapes, with the threshold that is best on those for tuning."""

    def f1(given: Scored, on: float, wanted: list[Scape]) -> float:
        names = frozenset(str(number) for number in range(len(wanted)))
        reference = EventList(tuple(sound for _, sounds in wanted for sound in sounds), names, is_named=True)
        return score(EventList(tuple(find(given, on)), names, is_named=True), reference).overall.f1 or 0.0

    chosen = max(THRESHOLDS, key=lambda on: f1(tuning, on, scapes[0]))
    return f1(test, chosen, scapes[1])


def _accuracy(manager: Manager, task: data_sets.Task, minutes: float) -> list[Row]:
    scapes = [soundscapes(task.validation, minutes, 1), soundscapes(task.test, minutes, 2)]
    rows = []
    for hop in HOPS:
        settings = EventSettings("auto", WINDOW, hop, tuned=False)
        whole = [scored(manager, some, settings) for some in scapes]
        steps = [scored(manager, some, replace(settings, timeline=True)) for some in scapes]
        plain = best_f1(merged, whole[0], whole[1], scapes)
        for what, find, given in (("hysteresis", detected, whole), ("timeline", detected, steps)):
            value = best_f1(find, given[0], given[1], scapes)
            ratio = value / plain if plain else None
            target = "1.3 x or more" if what == "timeline" and hop == WINDOW else ""
            name = f"{task.name}: event F1, {what}, hop {hop:g} s"
            against = f"windows merged, same hop: {100 * plain:.1f} %"
            note = f"{sum(len(sounds) for _, sounds in scapes[1])} events"
            rows.append(
                Row(
                    name,
                    against,
                    ratio,
                    100 * value,
                    "%",
                    "",
                    target,
                    not target or (ratio is not None and ratio >= 1.3),
                    note,
                )
            )
    return rows


def _speed(manager: Manager, task: str, seconds: float) -> list[Row]:
    """Return how many times faster than real time a recording is searched, on one core."""
    noise = _noise(np.random.default_rng(0), round(seconds * SAMPLE_RATE))
    taken = {}
    for hop in (0.48, 0.96):
        scorer = WindowScorer(manager.session, EventSettings(task, WINDOW, hop, tuned=False))
        times = []
        for _ in range(4):
            detector = StreamDetector(scorer, group=32)
            started = time.process_time()
            detector.add(noise)
            detector.finish()
            times.append(seconds / (time.process_time() - started))
        taken[hop] = statistics.median(times[1:])
    fast, ratio = taken[0.48], taken[0.48] / taken[0.96]
    clock = "processor time of one thread"
    return [
        Row("events, hop 0.48 s", "real time", fast, fast, "x", "", "100 x or more", fast >= 100, clock),
        Row("events, hop 0.48 s", "hop 0.96 s", ratio, taken[0.96], "x", "", "0.75 or more", ratio >= 0.75, clock),
    ]


def _routing(manager: Manager, task: str, scapes: Sequence[Scape]) -> list[Row]:
    """Return how much longer it takes where the router chooses the task, of every window or of few."""
    named = EventSettings(task, WINDOW, 0.48, tuned=False)
    kinds = {"by name": named, "every": replace(named, task="auto")}
    kinds["sticky"] = replace(kinds["every"], route="sticky")
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(4):
        for kind, settings in kinds.items():
            started = time.process_time()
            scored(manager, scapes, settings)
            times[kind].append(time.process_time() - started)
    rows = []
    for kind in ("every", "sticky"):
        ratios = [one / name for one, name in zip(times[kind][1:], times["by name"][1:], strict=True)]
        between = f"{min(ratios):.2f} to {max(ratios):.2f}"
        ratio = statistics.median(ratios)
        value = statistics.median(times[kind][1:])
        target = "1.1 x or less" if kind == "sticky" else ""
        rows.append(Row(f"routed, {kind}", "by name", ratio, value, "s", between, target, ratio <= 1.1, "hop 0.48 s"))
    return rows


def _delay(manager: Manager, task: str, scapes: Sequence[Scape]) -> Row:
    """Return how much later than a sound begins its event is known to have begun, in seconds of the stream."""
    hop = 0.48
    scorer = WindowScorer(manager.session, EventSettings(task, WINDOW, hop, tuned=False))
    delays = []
    for samples, sounds in scapes:
        detector = StreamDetector(scorer)
        waiting = list(sounds)
        for place in range(0, len(samples), SAMPLE_RATE // 20):
            detector.add(samples[place : place + SAMPLE_RATE // 20])
            now = (place + SAMPLE_RATE // 20) / SAMPLE_RATE
            labels = {one.label for one in detector.sounding}
            delays += [now - one.start for one in waiting if one.label in labels and one.start <= now <= one.end + 2]
            waiting = [one for one in waiting if one.label not in labels or one.start > now]
    if not delays:
        return Row("delay of an event's begin", "", None, None, "s", "", "", True, "no event was found")
    value = statistics.median(delays)
    spread = f"{min(delays):.2f} to {max(delays):.2f} of {len(delays)} events"
    return Row(
        "delay of an event's begin", "hop", value / hop, value, "s", spread, "", True, "of the stream, compute excluded"
    )


def _memory(registry: Path, task: str, hours: float) -> Row:
    """Return the memory of a process that searches a recording, against one that searches a 24th of it."""
    peak = {}
    for length in (hours / 24, hours):
        code = f"from benchmarks.streams import search; search({str(registry)!r}, {task!r}, {length!r})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        peak[length] = int(done.stdout)
    ratio = peak[hours] / peak[hours / 24]
    what = f"memory of {hours:g} h"
    return Row(what, f"{hours / 24:.3g} h", ratio, peak[hours] / 1024, "MiB", "", "1.05 or less", ratio <= 1.05, "")


def search(registry: str, task: str, hours: float) -> None:
    """Search noise of this length, and print the most memory that this process had, in KiB."""
    random = np.random.default_rng(0)
    with Manager.open(Path(registry), device="cpu") as manager:
        detector = StreamDetector(WindowScorer(manager.session, EventSettings(task, WINDOW, WINDOW)), group=32)
        for _ in range(max(1, round(hours * 360))):
            detector.add(_noise(random, 10 * SAMPLE_RATE))
        detector.finish()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _tasks(folders: Sequence[Path], place: Path) -> Iterator[data_sets.Task]:
    for folder in folders or make_clips(place / "tasks"):
        yield data_sets.load(folder)


def measure(folders: Sequence[Path] = (), minutes: float = 4.0, hours: float = 0.5) -> list[Row]:
    """Return all rows.

    Args:
        folders: of labelled clips; the synthetic tasks of `cl-ast demo` by default.
        minutes: of soundscapes for each task, and as much for tuning.
        hours: how long the longer recording is whose memory is measured.
    """
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as place:
        quiet = _quiet(Path(place) / "noise")
        for task in _tasks(folders, Path(place)):
            home = Path(place) / "registries" / task.name
            with Manager.open(home, backbone="ast-mini", device="cpu") as manager:
                taught = over_noise(task, Path(place) / "taught")
                manager.add_task(taught, method="linear", pooling="mean", evaluate=False, negatives=quiet)
                rows += _accuracy(manager, task, minutes)
        with Manager.open(home, device="cpu") as manager:
            rows += _speed(manager, task.name, 60.0)
            scapes = soundscapes(task.test, 2.0, 3)
            rows += _routing(manager, task.name, scapes)
            rows.append(_delay(manager, task.name, scapes))
        rows.append(_memory(home, task.name, hours))
    return rows


def _quiet(folder: Path) -> Path:
    """Write a minute of noise like that of the soundscapes, but not theirs; return its folder."""
    folder.mkdir()
    random = np.random.default_rng(9)
    for number in range(6):
        soundfile.write(folder / f"{number}.wav", _noise(random, 10 * SAMPLE_RATE), SAMPLE_RATE)
    return folder


def main() -> None:
    """Print the rows for the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="*", default=[], metavar="FOLDER")
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--hours", type=float, default=0.5)
    given = parser.parse_args()
    for row in measure(given.data, given.minutes, given.hours):
        ratio = "–" if row.ratio is None else f"{row.ratio:.2f}"
        value = "–" if row.value is None else f"{row.value:.4g} {row.unit}"
        print(f"{row.what} | {row.against} | {ratio} | {value} | {row.spread} | {row.target} | {row.note}")


if __name__ == "__main__":
    main()

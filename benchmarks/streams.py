"""Measures events in long recordings: how well they are found, how fast, in what memory, and how late.

    python -m benchmarks streams                                   synthetic tasks, as `cl-ast demo` makes them
    python -m benchmarks.streams --data FOLDER... --minutes 60 --hours 24

Soundscapes are made of the test clips of a task at known times, at 0 to 20 dB over coloured noise. All ways to find
events get the same windows, so the same number of passes, and the threshold that is best for them on soundscapes of the
validation clips. The task was taught its training clips over noise of the same kind, and the router noise alone, so
that it knows windows with a sound and may call those without one unknown.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

import streams as data_sets
from benchmarks.memory import peak_memory
from benchmarks.rows import Row
from benchmarks.soundscapes import WINDOW, Scape, noise, noise_alone, over_noise, soundscapes
from benchmarks.timing import in_turns, ratio
from cl_ast import Manager
from cl_ast.audio.reading import SAMPLE_RATE
from cl_ast.evaluation.event_lists import EventList, Sound
from cl_ast.evaluation.event_score import score
from cl_ast.events import EventDetector, EventSettings, ScoredWindow, StreamDetector, Threshold, WindowScorer
from cl_ast.terminal.demo_story import make_clips

HOPS = (0.96, 0.48, 0.16)
THRESHOLDS = [round(0.3 + 0.05 * number, 2) for number in range(14)]
ROUNDS = 3  # of what is timed

Scored = tuple[WindowScorer, list[tuple[list[ScoredWindow], int]]]


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
            gain = value / plain if plain else None
            target = "1.3 x or more" if what == "timeline" and hop == WINDOW else ""
            name = f"{task.name}: event F1, {what}, hop {hop:g} s"
            against = f"windows merged, same hop: {100 * plain:.1f} %"
            note = f"{sum(len(sounds) for _, sounds in scapes[1])} events"
            rows.append(
                Row(
                    name,
                    against,
                    gain,
                    100 * value,
                    "%",
                    "",
                    target,
                    not target or (gain is not None and gain >= 1.3),
                    note,
                )
            )
    return rows


def _speed(manager: Manager, task: str, seconds: float) -> list[Row]:
    """Return how many times faster than real time a recording is searched, on one core."""
    recording: Scape = noise(np.random.default_rng(0), round(seconds * SAMPLE_RATE)), []
    settings = {f"{hop:g}": EventSettings(task, WINDOW, hop, tuned=False) for hop in (0.48, 0.96)}
    times = in_turns({hop: partial(scored, manager, [recording], one) for hop, one in settings.items()}, ROUNDS)
    fast, slow = (seconds / statistics.median(each) for each in times.values())
    gain = fast / slow
    clock = "processor time of one thread"
    return [
        Row("events, hop 0.48 s", "real time", fast, fast, "x", "", "100 x or more", fast >= 100, clock),
        Row("events, hop 0.48 s", "hop 0.96 s", gain, slow, "x", "", "0.75 or more", gain >= 0.75, clock),
    ]


def _routing(manager: Manager, task: str, scapes: Sequence[Scape]) -> list[Row]:
    """Return how much longer it takes where the router chooses the task, of every window or of few."""
    named = EventSettings(task, WINDOW, 0.48, tuned=False)
    kinds = {"by name": named, "every": replace(named, task="auto")}
    kinds["sticky"] = replace(kinds["every"], route="sticky")
    times = in_turns({kind: partial(scored, manager, scapes, settings) for kind, settings in kinds.items()}, ROUNDS)
    rows = []
    for kind in ("every", "sticky"):
        found, between = ratio(times, kind, "by name")
        target = "1.1 x or less" if kind == "sticky" else ""
        value = statistics.median(times[kind])
        rows.append(Row(f"routed, {kind}", "by name", found, value, "s", between, target, found <= 1.1, "hop 0.48 s"))
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
        peak[length] = float(done.stdout)
    growth = peak[hours] / peak[hours / 24]
    what = f"memory of {hours:g} h"
    return Row(what, f"{hours / 24:.3g} h", growth, peak[hours], "MB", "", "1.05 or less", growth <= 1.05, "")


def search(registry: str, task: str, hours: float) -> None:
    """Search noise of this length, and print the most memory that this process had, in MB."""
    random = np.random.default_rng(0)
    with Manager.open(Path(registry), device="cpu") as manager:
        detector = StreamDetector(WindowScorer(manager.session, EventSettings(task, WINDOW, WINDOW)), group=32)
        for _ in range(max(1, round(hours * 360))):
            detector.add(noise(random, 10 * SAMPLE_RATE))
        detector.finish()
    print(peak_memory())


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
        quiet = noise_alone(Path(place) / "noise")
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

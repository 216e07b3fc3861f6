"""The steps of `cl-ast demo`: three small tasks are synthesised and learned one after another, offline, in minutes."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import streams
from cl_ast.audio import synthesis as synth
from cl_ast.audio.reading import SAMPLE_RATE
from cl_ast.audio.synthesis import Maker
from cl_ast.continual.add_task import Learned
from cl_ast.errors import ClAstError
from cl_ast.manager import Manager
from cl_ast.progress import Progress, silent
from cl_ast.training.options import TrainOptions
from registry import Registry

METHOD = "bottleneck"
OPTIONS = TrainOptions(epochs=6, batch_size=16)
_CLIPS_A_CLASS = 30
_SEED = 7


@dataclass(frozen=True, slots=True)
class DemoTask:
    """A task of the demo.

    Attributes:
        name: the task's name.
        makers: the function that synthesises the clips of each class.
        shortest, longest: the range of the clips' lengths, in seconds.
    """

    name: str
    makers: Mapping[str, Maker]
    shortest: float
    longest: float


TASKS = (
    DemoTask("sounds", synth.SOUNDS, 0.8, 1.6),
    DemoTask("animals-and-tools", synth.ANIMALS_AND_TOOLS, 0.8, 1.6),
    DemoTask("commands", synth.COMMANDS, 0.6, 1.0),
)


def make_room(home: Path) -> None:
    """Remove the registry of an earlier demo, so that the demo can run again.

    Raises:
        ClAstError: the registry has a task that the demo did not make.
    """
    if not home.exists():
        return
    with Registry.open(home, create=False) as registry:
        others = {task.name for task in registry.tasks()} - {task.name for task in TASKS}
    if others:
        raise ClAstError(
            f"{home} has other tasks than the demo's ({', '.join(sorted(others))}); use another folder for the demo"
        )
    shutil.rmtree(home)


def make_clips(folder: Path) -> list[Path]:
    """Write each task as a folder of labelled wav files, the same in each run; return the folders."""
    import soundfile

    random = np.random.default_rng(_SEED)
    made = []
    for task in TASKS:
        for label, maker in task.makers.items():
            home = folder / task.name / label
            home.mkdir(parents=True, exist_ok=True)
            for number in range(_CLIPS_A_CLASS):
                clip = synth.render(maker, random, random.uniform(task.shortest, task.longest))
                soundfile.write(home / f"{number:02}.wav", clip, SAMPLE_RATE, subtype="PCM_16")
        made.append(folder / task.name)
    return made


def learn_all(manager: Manager, folders: list[Path], progress: Progress = silent) -> Iterator[Learned]:
    """Learn the tasks one after another, and yield the result of each."""
    for folder in folders:
        yield manager.add_task(
            streams.load(folder), method=METHOD, options=OPTIONS, pooling="mean+std", progress=progress
        )


def unseen_clips(folders: list[Path]) -> list[Path]:
    """Return two test clips of each task, which no adapter was trained on."""
    return [clip.path for folder in folders for clip in streams.load(folder).test[:: max(1, _CLIPS_A_CLASS // 3)][:2]]


def make_strangers(folder: Path) -> list[Path]:
    """Write clips that belong to no task, white noise and a steady chord; return their paths."""
    import soundfile

    random = np.random.default_rng(_SEED)
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    chord = sum(np.sin(2 * np.pi * f * time) for f in (220.0, 277.2, 329.6, 440.0)) / 8
    noise = 0.1 * random.normal(size=SAMPLE_RATE)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, samples in (("noise.wav", noise), ("chord.wav", chord)):
        soundfile.write(folder / name, samples, SAMPLE_RATE, subtype="PCM_16")
        paths.append(folder / name)
    return paths

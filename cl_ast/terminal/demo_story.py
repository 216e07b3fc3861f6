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
from cl_ast.wording import some_of
from registry import Registry
from registry.adapter_files import is_own

METHOD = "bottleneck"
OPTIONS = TrainOptions(epochs=6, batch_size=16)
_CLIPS_A_CLASS = 30
_SEED = 7
_MARK = "made-by-cl-ast-demo.txt"
_DATABASE = frozenset({"registry.db", "registry.db-wal", "registry.db-shm"})


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


def make_room(folder: Path) -> None:
    """Prepare the folder of the demo, and remove the registry of an earlier demo there, so that it can run again.

    The folder gets a mark, and only in a folder with that mark is anything replaced. A folder of a release that made no
    mark is known by its registry, which has the demo's three tasks and no other, each learned from the clips beside it.

    Raises:
        ClAstError: the folder has anything that the demo did not make, such as somebody's recordings.
    """
    mark, home = folder / _MARK, folder / "registry"
    there = sorted(path.name for path in folder.glob("[!.]*"))
    if home.is_symlink() or (not mark.is_file() and there and not _is_former_demo(home)):
        raise ClAstError(
            f"{folder} has {some_of(there, 3)}, and no mark that the demo made it: use another folder for the demo"
        )
    _check_own(home)
    folder.mkdir(parents=True, exist_ok=True)
    mark.write_text("`cl-ast demo` made this folder, and replaces the clips and the registry in it.\n", "utf-8")
    if home.exists():
        shutil.rmtree(home)


def _check_own(home: Path) -> None:
    """Raise ClAstError where a registry is not the demo's alone."""
    if not (home / "registry.db").exists():
        strange = sorted(path.name for path in home.rglob("*") if path.is_file())
    else:
        with Registry.open(home, create=False) as registry:
            others = [task.name for task in registry.tasks() if not _is_own(registry, task.name, home)]
            unknown = registry.count() - len(registry.tasks())
        if others or unknown:
            what = ", ".join(sorted(others)) or "some that cannot be read"
            raise ClAstError(f"{home} has other tasks than the demo's ({what}); use another folder for the demo")
        names = [path.name for path in home.rglob("*") if path.is_file()]
        strange = sorted(name for name in names if name not in _DATABASE and not is_own(name))
    if strange:
        raise ClAstError(
            f"{home} has files that the demo did not write ({', '.join(strange[:3])}); use another folder for the demo"
        )


def _is_own(registry: Registry, name: str, home: Path) -> bool:
    """Return whether every version of a task was learned from the demo's clips beside the registry."""
    clips = (home.parent / "clips" / name).resolve()
    sources = [version.source.get("data") for version in registry.versions(name)]
    return name in {task.name for task in TASKS} and all(
        isinstance(source, str) and Path(source).resolve() == clips for source in sources
    )


def _is_former_demo(home: Path) -> bool:
    if not (home / "registry.db").is_file():
        return False
    with Registry.open(home, create=False) as registry:
        names = [task.name for task in registry.tasks()]
        return names == [task.name for task in TASKS] and all(_is_own(registry, name, home) for name in names)


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

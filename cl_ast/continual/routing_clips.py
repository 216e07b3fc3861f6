"""The clips that routing is learned from: those of the task's training, of a folder, or of a published data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import streams
from cl_ast.errors import StreamError
from cl_ast.tasks.origin import how_to_route, original, routing_of
from cl_ast.wording import plural
from registry import VersionRecord
from streams.metadata import has_metadata
from streams.walk import EXTENSIONS, Obstacle, audio_files

MOST = 600  # training clips that are used
MOST_VALIDATION = 200  # and validation clips
FEWEST = 10  # clips of a folder; with fewer, more than one in eleven of the task's own clips would be called unknown
_SHARE = 4  # one in so many clips without a split is left to the calibration


@dataclass(frozen=True, slots=True)
class RoutingClips:
    """The clips that routing is learned from, and those that it is calibrated with.

    Attributes:
        labels: of the training clips; clips without labels all have the label "".
        folder: where the clips are, if that is recorded for the next time; None for the clips of the task's training.
    """

    training: Sequence[streams.Clip]
    validation: Sequence[streams.Clip]
    labels: Sequence[str]
    folder: Path | None = None

    @property
    def used(self) -> int:
        """How many clips are used."""
        return min(len(self.training), MOST) + min(len(self.validation), MOST_VALIDATION)


def clips_of(task: streams.Task) -> RoutingClips:
    """Return the training and validation clips of a task."""
    return RoutingClips(task.train, task.validation, task.labels)


def clips_in(folder: Path, seed: int) -> RoutingClips:
    """Return the clips of a folder. A labelled folder keeps its split, and its test clips are left out.

    The labels need not be those of the task. Clips without labels are divided at random.

    Raises:
        StreamError: the folder is missing, cannot be read or has too few clips.
    """
    root = resolved(folder)
    try:
        task = streams.load(root, seed=seed)
    except StreamError:
        if has_metadata(root):
            raise
        found = _divided(audio_in(root), seed, root)
    else:
        found = RoutingClips(task.train, task.validation, task.labels, root)
    if found.used < FEWEST:
        raise StreamError(
            f"{folder} has {plural(found.used, 'clip')} to learn routing from, without test clips; "
            f"give at least {FEWEST}"
        )
    return found


def clips_of_import(version: VersionRecord) -> RoutingClips:
    """Return the clips that an imported task was learned from, where it is of a published data set that is here.

    Raises:
        StreamError: it is of no such data set, or that is not here or differs.
    """
    way_out = f"{how_to_route(version.task)} learns its routing from clips of that kind in DIR"
    stated = original(version.source)
    if stated.get("task") not in streams.DATASETS:
        raise StreamError(f"it was imported without its clips; {way_out}")
    try:
        source = streams.Source.from_json({**stated, "data": "", "name": version.task})
        task = streams.load(
            source.task,
            fold=source.fold,
            few_shot=source.few_shot,
            max_seconds=source.max_seconds,
            seed=source.seed,
            split_by=source.split_by,
        )
    except StreamError as error:
        raise StreamError(f"{error}; {way_out}") from error
    if task.fingerprint() != version.data_fingerprint:
        raise StreamError(f"it was learned from other clips than those in {task.source.data}; {way_out}")
    return clips_of(task)


def recorded_folder(version: VersionRecord) -> Path | None:
    """Return the folder that a version's routing was learned from; None where it was not learned from a folder."""
    found = routing_of(version).get("folder")
    return Path(found) if isinstance(found, str) else None


def recorded_negatives(version: VersionRecord) -> Path | None:
    """Return the folder of the negatives that a version's routing was learned with; None for none."""
    found = routing_of(version).get("negatives")
    folder = found.get("folder") if isinstance(found, Mapping) else None
    return Path(folder) if isinstance(folder, str) else None


def resolved(folder: Path) -> Path:
    """Return the absolute path of a folder. Raises StreamError where it is none, or its path cannot be recorded."""
    try:
        root = folder.resolve()
        is_folder = root.is_dir()
    except (OSError, RuntimeError, ValueError) as error:  # such as a name that is too long, or links in a circle
        raise StreamError(f"{folder} cannot be opened ({error}); give a folder of clips") from None
    if not is_folder:
        raise StreamError(f"{folder} is no folder; give a folder of clips")
    try:
        str(root).encode()
    except UnicodeEncodeError:
        raise StreamError(f"{str(root)!r} is not text in UTF-8; rename the folder") from None
    return root


def audio_in(root: Path) -> list[Path]:
    """Return the audio files of a folder, sorted. Raises StreamError where a folder in it cannot be entered."""
    found: list[Path] = []
    for one in audio_files(root):
        if isinstance(one, Obstacle):
            raise StreamError(f"{one.path} cannot be entered ({one.reason}); change its permissions or move it away")
        found.append(one)
    if not found:
        raise StreamError(f"{root} has no audio files ({', '.join(sorted(EXTENSIONS))})")
    return sorted(found)


def _divided(paths: Sequence[Path], seed: int, root: Path) -> RoutingClips:
    order = torch.randperm(len(paths), generator=torch.Generator().manual_seed(seed)).tolist()
    clips = [streams.Clip(paths[index], "") for index in order]
    count = len(clips) // _SHARE
    return RoutingClips(clips[count:], clips[:count], ("",), root)

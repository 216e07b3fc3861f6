"""What has to be said of a task's clips: that some are longer, that there are few, or that others tested it before."""

from collections import Counter
from collections.abc import Iterable, Sequence

import streams
from cl_ast.errors import ClAstError
from cl_ast.evaluation.shown_accuracy import countable, in_sentence
from cl_ast.excerpts import Place, short_name
from cl_ast.tasks.kind_names import ACCURACY, MAP, is_tags, metric_of
from cl_ast.tasks.task_file import split_in
from cl_ast.wording import some_of
from registry import Registry, TaskRecord, VersionRecord
from streams.recorded_split import members_of

FEWEST_TEST, FEWEST_TRAINING = 10, 5  # clips per class
_NAMED = 5  # classes in a message
_NAMED_CLIPS = 3


def few_clips(task: streams.Task, *, tested: bool) -> list[str]:
    """Return a sentence for each split in which classes have too few clips.

    Training clips are not counted where so few were asked for.
    """
    found, metric = [], MAP if task.source.tags else ACCURACY
    if tested:
        few = _few(task.labels, task.test, FEWEST_TEST, "test")
        if few:
            found.append(f"{task.name}: {few}, so the {metric} says little of them")
    if task.source.few_shot is None:
        few = _few(task.labels, task.train, FEWEST_TRAINING, "training")
        if few:
            found.append(f"{task.name}: {few}, which is seldom enough to learn a class")
    return found


def longer_clips(task: streams.Task, longer: Iterable[Place], seconds: float, crop: str) -> str:
    """Return a sentence about training clips that are longer than the task takes; an empty one where none is.

    Args:
        longer: those clips.
        seconds: how much of a clip the task takes.
        crop: what is taken of them, one of `CROPS`.
    """
    names = list(map(short_name, longer))
    taken = {
        "loudest": f"the loudest {seconds:g} s of each train",
        "start": f"the first {seconds:g} s of each train",
        "all": f"all windows of {seconds:g} s in which they sound train",
    }
    if not names:
        return ""
    return (
        f"{task.name}: {len(names):,} of {len(task.train):,} training clips are longer than the {seconds:g} s that the "
        f"task hears ({some_of(names, _NAMED_CLIPS)}); {taken[crop]} (--crop)"
    )


def _few(labels: Sequence[str], clips: Sequence[streams.Clip], fewest: int, split: str) -> str:
    """Return which classes have fewer clips, as the beginning of a sentence; nothing where none has."""
    counts = Counter(label for clip in clips for label in clip.labels)
    few = sorted((counts[label], label) for label in labels if counts[label] < fewest)
    shown = ", ".join(f"{label} {count}" for count, label in few[:_NAMED]) + (", …" if len(few) > _NAMED else "")
    have = "has" if len(few) == 1 else "have"
    return f"{len(few)} of {len(labels)} classes {have} fewer than {fewest} {split} clips ({shown})" if few else ""


def not_comparable(registry: Registry, former: VersionRecord, task: streams.Task, now: TaskRecord) -> list[str]:
    """Return a sentence if the former version of a task was tested otherwise than the one that replaces it.

    That is on other clips, or with one label a clip where there are several now.
    """
    before, after = former.learned_accuracy, now.version.learned_accuracy
    if before is None or after is None:
        return []
    figures = (
        in_sentence(before, countable(former.training, "test")),
        in_sentence(after, countable(now.version.training, "test")),
    )
    if is_tags(former) != is_tags(now.version):
        return [
            f"{now.name}: the {metric_of(former)} of version {former.number} ({figures[0]}) and the "
            f"{metric_of(now.version)} of version {now.version.number} ({figures[1]}) are not comparable"
        ]
    if not _other_clips(registry, former, task):
        return []
    return [
        f"{now.name}: version {former.number} was tested on other clips, so its test {metric_of(former)} "
        f"({figures[0]}) and that of version {now.version.number} ({figures[1]}) are not comparable"
    ]


def _other_clips(registry: Registry, former: VersionRecord, task: streams.Task) -> bool:
    """Return whether two versions were tested on other clips; False where that cannot be found out any more."""
    try:
        tested = split_in(registry.read_adapter(former)).get("test")
        if tested is None:  # in a file of an older release
            return former.data_fingerprint != task.fingerprint()
        return tested != frozenset(members_of(task)["test"])
    except ClAstError:
        return False

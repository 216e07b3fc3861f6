"""Streams of steps as data: a task that is split by class or by domain, or several tasks one after another."""

import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import streams
from cl_ast.baselines.outputs import SCENARIOS
from cl_ast.errors import StreamError
from cl_ast.wording import plural
from streams.loading import read_records, task_of
from streams.records import Record
from streams.split import keep_per_class, stratified_split
from streams.task import refuse_tags
from streams.values import natural_key

STEPS = 5  # of one task that is split by class, unless something else is wanted


@dataclass(frozen=True, slots=True)
class Preset:
    """A stream that papers use.

    Attributes:
        task: the data set, as `streams.load` takes it.
        steps: into how many steps it is split by class.
    """

    task: str
    steps: int


PRESETS: Mapping[str, Preset] = {
    "split-esc50": Preset("esc50", 5),  # of 10 classes
    "split-us8k": Preset("us8k", 5),  # of 2 classes
    "split-gsc": Preset("gsc", 5),  # of 7 classes
}


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a stream.

    Attributes:
        number: its position in the order, from 0.
        block: the position of the task in `Stream.blocks` that its clips are of.
        classes: its classes, as numbers that are the same in every order.
        task: the step as a task of its own.
    """

    number: int
    block: int
    classes: tuple[int, ...]
    task: streams.Task


@dataclass(frozen=True, slots=True)
class Stream:
    """What is learned step by step.

    Attributes:
        scenario: one of `SCENARIOS`.
        blocks: the tasks whose clips are read: one that is split by class, or one for each step.
        classes: of each block, the number of each of its labels.
        parts: into how many steps the one block is split by class; 0 where each block is a step.
        title: what it is, in a few words.
    """

    scenario: str
    blocks: tuple[streams.Task, ...]
    classes: tuple[Mapping[str, int], ...]
    parts: int
    title: str

    @property
    def class_count(self) -> int:
        """How many classes the whole stream has."""
        return 1 + max(number for numbers in self.classes for number in numbers.values())

    @property
    def step_count(self) -> int:
        """How many steps it has."""
        return self.parts or len(self.blocks)

    def steps(self, order: int) -> list[Step]:
        """Return the steps in one of the orders, which are numbered from 0: each is a random one of its own.

        Where one task is split by class, an order also decides which classes a step has.
        """
        draw = random.Random(f"order {order}")
        if not self.parts:
            blocks = draw.sample(range(len(self.blocks)), len(self.blocks))
            return [
                Step(number, block, tuple(self.classes[block].values()), self.blocks[block])
                for number, block in enumerate(blocks)
            ]
        (whole,), (numbers,) = self.blocks, self.classes
        labels = draw.sample(whole.labels, len(whole.labels))
        found = []
        for number in range(self.parts):
            mine = labels[number :: self.parts]
            own = tuple(label for label in whole.labels if label in mine)
            found.append(Step(number, 0, tuple(numbers[label] for label in own), _only(whole, own, number)))
        return found

    def chance(self, order: int) -> list[float]:
        """Return what guessing gives after each step of an order: the mean accuracy on the steps so far, a fraction."""
        classes = [step.classes for step in self.steps(order)]
        if self.scenario == "til":
            return [statistics.mean(1 / len(own) for own in classes[:count]) for count in range(1, len(classes) + 1)]
        return [1 / len({one for own in classes[:count] for one in own}) for count in range(1, len(classes) + 1)]


def stream_of(tasks: Sequence[streams.Task], scenario: str, steps: int | None = None) -> Stream:
    """Return the stream of a scenario.

    Args:
        tasks: one, which is split by class, or for "dil" by fold or speaker; or several, each of which is a step.
        scenario: one of `SCENARIOS`.
        steps: into how many steps one task is split; by default `STEPS`, or for "dil" one for each fold or speaker.

    Raises:
        StreamError: the tasks cannot be split so, clips have several labels, or the steps of "dil" have not the same
            labels.
    """
    refuse_tags(tasks, "a comparison of strategies")
    if scenario not in SCENARIOS:
        raise StreamError(f"no scenario called {scenario!r}; there are {', '.join(SCENARIOS)}")
    if len(tasks) > 1 and steps is not None:
        raise StreamError("each of several tasks is a step: leave out --steps, or give one task")
    if scenario == "dil":
        return _by_domain(tasks, steps)
    if len(tasks) == 1:
        return _by_class(tasks[0], scenario, STEPS if steps is None else steps)
    _check_names(tasks)
    numbers: list[Mapping[str, int]] = []
    first = 0
    for task in tasks:
        numbers.append({label: first + number for number, label in enumerate(task.labels)})
        first += len(task.labels)
    return Stream(scenario, tuple(tasks), tuple(numbers), 0, plural(len(tasks), "task"))


def _by_class(task: streams.Task, scenario: str, steps: int) -> Stream:
    most = len(task.labels) // 2  # a step has at least two classes
    if most < 2:
        raise StreamError(
            f"{task.name} has {len(task.labels)} classes, too few to be split by class; give several tasks"
        )
    _check_count(task.name, len(task.labels), "classes", steps, most)
    numbers = {label: number for number, label in enumerate(task.labels)}
    return Stream(scenario, (task,), (numbers,), steps, f"{task.name} split by class into {plural(steps, 'step')}")


def _by_domain(tasks: Sequence[streams.Task], steps: int | None) -> Stream:
    if len(tasks) == 1:
        blocks, what = _domains(tasks[0], steps)
        title = f"{tasks[0].name} split by {what} into {plural(len(blocks), 'step')}"
    else:
        _check_names(tasks)
        blocks, title = tuple(tasks), plural(len(tasks), "task")
    labels = blocks[0].labels
    for block in blocks:
        other = sorted(set(labels) ^ set(block.labels))
        if other:
            raise StreamError(
                f"the steps of a domain-incremental stream have the same labels, and {other[0]!r} is in only one of "
                f"{blocks[0].name} and {block.name}; give other tasks, or fewer --steps"
            )
    numbers = {label: number for number, label in enumerate(labels)}
    return Stream("dil", blocks, (numbers,) * len(blocks), 0, title)


def _domains(task: streams.Task, steps: int | None) -> tuple[tuple[streams.Task, ...], str]:
    """Return one task for each fold or speaker, or for several of them together, and which of both it is."""
    if task.source.fold is not None:
        raise StreamError("each fold or speaker is a step of a domain-incremental stream: leave out --fold")
    records = read_records(task.source).records
    choices = [task.source.split_by] if task.source.split_by in ("fold", "speaker") else ["fold", "speaker"]
    column = next((one for one in choices if len({getattr(r, one) for r in records}) > 1), None)
    if column is None:
        raise StreamError(
            f"{task.source.data}: these clips name neither folds nor speakers to be domains; give several tasks"
        )
    names = sorted({getattr(record, column) for record in records}, key=natural_key)
    count = len(names) if steps is None else steps
    _check_count(task.name, len(names), f"{column}s", count, len(names))
    groups = [set(names[number::count]) for number in range(count)]
    return tuple(
        _domain(task, [r for r in records if getattr(r, column) in group], number)
        for number, group in enumerate(groups)
    ), column


def _check_count(name: str, count: int, what: str, steps: int, most: int) -> None:
    if not 2 <= steps <= most:
        raise StreamError(
            f"{name} has {count} {what}, which make at most {most} steps, and not {steps}; change --steps"
        )


def _domain(task: streams.Task, records: Sequence[Record], number: int) -> streams.Task:
    """Return the clips of one domain as a task, split at random and balanced by class."""
    source = task.source
    splits = stratified_split(records, source.seed, Path(source.data))
    if source.few_shot is not None:
        splits = splits._replace(train=keep_per_class(splits.train, source.few_shot, source.seed))
    trained = {record.label for record in splits.train}
    labels = tuple(label for label in task.labels if label in trained)
    named = replace(source, name=f"{task.name}-{number + 1}")
    return task_of(named, labels, splits, f"a part of {task.name}, split at random and balanced by class")


def _only(task: streams.Task, labels: Sequence[str], number: int) -> streams.Task:
    """Return some classes of a task as a task of its own."""
    train, validation, test = (
        tuple(clip for clip in clips if clip.label in labels) for clips in (task.train, task.validation, task.test)
    )
    for name, clips in (("validation", validation), ("test", test)):
        if not clips:
            raise StreamError(f"{task.name}: the classes {', '.join(labels)} have no {name} clip; choose fewer --steps")
    return replace(
        task, name=f"{task.name}-{number + 1}", labels=tuple(labels), train=train, validation=validation, test=test
    )


def _check_names(tasks: Sequence[streams.Task]) -> None:
    names = [task.name.casefold() for task in tasks]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise StreamError(f"two tasks are called {twice[0]}; give each folder a name of its own")

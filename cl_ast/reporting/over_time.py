"""Follows a stream task by task: average accuracy and forgetting after each task, and what guessing would give.

Tasks of tags, which have no accuracy, are left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cl_ast.evaluation.metrics import average_accuracy, backward_transfer, forgetting
from cl_ast.tasks.kind_names import ACCURACY


@dataclass(frozen=True, slots=True)
class Moment:
    """The stream after one task; None for what was not measured.

    Attributes:
        after: the name of that task.
        average, forgetting, backward: of the tasks so far, by mode, "oracle" or "auto".
        chance: the accuracy of guessing, by mode: a label of the named task, or any label of any task so far.
    """

    after: str
    average: Mapping[str, float | None]
    forgetting: Mapping[str, float | None]
    backward: Mapping[str, float | None]
    chance: Mapping[str, float]


def moments(stats: Mapping[str, Any]) -> list[Moment]:
    """Return the stream after each task, for what `cl-ast stats --format json` says.

    It begins with the first task that has an accuracy.
    """
    tasks = stats["tasks"]
    own_tasks = {j for j, task in enumerate(tasks) if task["metric"] == ACCURACY}
    cells = {
        mode: {(i, j): v for i, row in enumerate(rows) for j, v in enumerate(row) if v is not None and j in own_tasks}
        for mode, rows in stats["matrix"].items()
    }
    found = []
    for count, task in enumerate(tasks, 1):
        classes = [one["classes"] for one in tasks[:count] if one["metric"] == ACCURACY]
        if not classes:
            continue
        chance = {"oracle": sum(1 / one for one in classes) / len(classes), "auto": 1 / sum(classes)}
        averages = {mode: average_accuracy(own, count) for mode, own in cells.items()}
        drops = {mode: forgetting(own, count) for mode, own in cells.items()}
        backward = {mode: backward_transfer(own, count) for mode, own in cells.items()}
        found.append(Moment(task["name"], averages, drops, backward, chance))
    return found

"""Finds the task that a clip belongs to, or that it belongs to none.

The first layers of the frozen backbone describe the sound of a clip (`sound`, `space`); the description does not depend
on any task. Each task adds a state and a calibration, learned from its own clips alone (`learning`, `task_routing`). A
router compares the clip with the states of all tasks (`router`); three kinds of router are in `kinds`.
"""

from cl_ast.router.calibration import ALPHA, checked_alpha
from cl_ast.router.kinds import DEFAULT, KINDS
from cl_ast.router.learning import learn, unknown_negatives
from cl_ast.router.router import Route, Router
from cl_ast.router.sound import part_to_describe, sound_of
from cl_ast.router.space import DIMENSIONS, RouterSpace
from cl_ast.router.task_routing import TaskRouting
from cl_ast.router.tie_break import decide, head_p_value, most_confident

__all__ = [
    "ALPHA",
    "DEFAULT",
    "DIMENSIONS",
    "KINDS",
    "Route",
    "Router",
    "RouterSpace",
    "TaskRouting",
    "checked_alpha",
    "decide",
    "head_p_value",
    "learn",
    "most_confident",
    "part_to_describe",
    "sound_of",
    "unknown_negatives",
]

"""Which task is this clip, or none: a description that belongs to the backbone alone, and three exact routers over it.

A clip is described by the frozen backbone's first layers over its sound (`sound`, `space`). A task adds its own state
and its own calibration (`routing`) and reads no other's; a router puts them side by side (`choosing`).
"""

from cl_ast.router.calibration import ALPHA
from cl_ast.router.kinds import DEFAULT, KINDS
from cl_ast.router.learning import learn
from cl_ast.router.router import Route, Router
from cl_ast.router.sound import sound_of
from cl_ast.router.space import DIMENSIONS, RouterSpace
from cl_ast.router.task_routing import TaskRouting
from cl_ast.router.tie_break import decide

__all__ = [
    "ALPHA",
    "DEFAULT",
    "DIMENSIONS",
    "KINDS",
    "Route",
    "Router",
    "RouterSpace",
    "TaskRouting",
    "decide",
    "learn",
    "sound_of",
]

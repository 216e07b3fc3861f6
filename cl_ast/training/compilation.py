"""Compiles the forward and backward pass of a training with torch, and says when that is worth its time."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from cl_ast.progress import ClAstWarning
from cl_ast.tasks.task_model import TaskModel
from cl_ast.wording import first_line

# A compilation takes half a minute, and a compiled step about half a GPU's time of the same step. On an H100, this many
# floating-point operations are the training from which that pays (docs/performance-measured.md).
_PAYS_FROM = 2e16


def pays(model: TaskModel, clips: int, epochs: int, tokens: int) -> bool:
    """Return whether a training is so long that compiling its step pays; the same training gives the same answer.

    Args:
        clips: how many clips an epoch has.
        tokens: of one clip.
    """
    passes = 3 if model.settings.method.trains == "backbone" else 2  # forward, gradients of states (and of weights)
    operations = 2.0 * passes * model.backbone.parameters * tokens * clips * epochs
    return model.backbone.device.type == "cuda" and operations >= _PAYS_FROM


def compiled(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return the function compiled as one graph; this takes place at the first call, for the shape of its input.

    Where it cannot be compiled, as on a machine without a compiler, the returned function is the given one.

    Warns:
        ClAstWarning: it cannot be compiled, and why.
    """
    # Imported here, since this import takes two seconds.
    from torch._dynamo import reset
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import InductorError

    reset()  # torch limits the number of compilations in a process; this lets each training have the full number
    fast: Callable[[Tensor], Tensor] | None = torch.compile(function, fullgraph=True, dynamic=False)

    def call(x: Tensor) -> Tensor:
        nonlocal fast
        if fast is not None:
            try:
                return fast(x)
            except (TorchDynamoException, InductorError) as error:
                inner = getattr(error, "inner_exception", error)
                reason = first_line(inner)[:200]
                message = f"the training goes on without a compiled step, which could not be made here: {reason}"
                warnings.warn(message, ClAstWarning, stacklevel=2)
                fast = None
        return function(x)

    return call

"""Compiles a function of tensors with torch."""

from collections.abc import Callable

import torch
from torch import Tensor

from cl_ast.errors import TrainingError


def compiled(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return the function compiled; compilation takes place at the first call and for each new shape.

    The returned function raises TrainingError if the machine has no compiler for the device.
    """
    # Imported here, since this import takes two seconds.
    from torch._dynamo import reset
    from torch._dynamo.exc import BackendCompilerFailed

    reset()  # torch limits the number of compilations in a process; this lets each training have the full number
    fast = torch.compile(function)

    def call(x: Tensor) -> Tensor:
        try:
            return fast(x)
        except BackendCompilerFailed as error:
            reason = str(error.inner_exception).splitlines()[0]
            raise TrainingError(f"the training step could not be compiled: {reason}; leave --compile out") from error

    return call

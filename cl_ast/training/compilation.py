"""A function of tensors, compiled by torch."""

from collections.abc import Callable

import torch
from torch import Tensor

from cl_ast.errors import TrainingError


def compiled(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The same function, compiled when it is first called, and again for another shape.

    Raises:
        TrainingError: by the function, where the machine has no compiler for the device.
    """
    from torch._dynamo import reset  # two seconds
    from torch._dynamo.exc import BackendCompilerFailed

    reset()  # the limit of compilations is the process's: each training gets all of it
    fast = torch.compile(function)

    def call(x: Tensor) -> Tensor:
        try:
            return fast(x)
        except BackendCompilerFailed as error:
            said = str(error.inner_exception).splitlines()[0]
            raise TrainingError(f"the training step could not be compiled: {said}; leave --compile out") from error

    return call

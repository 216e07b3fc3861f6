"""cl-ast: one frozen Audio Spectrogram Transformer, one small adapter per task.

Importing this package imports no torch: public names are resolved when they are first used.
"""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "AudioError": "cl_ast.errors",
    "BackboneError": "cl_ast.errors",
    "ClAstError": "cl_ast.errors",
    "Failure": "cl_ast.audio.windows",
    "Learned": "cl_ast.manager",
    "Manager": "cl_ast.manager",
    "MethodError": "cl_ast.errors",
    "Prediction": "cl_ast.inference.prediction",
    "RegistryError": "cl_ast.errors",
    "StreamError": "cl_ast.errors",
    "TrainOptions": "cl_ast.training.options",
    "TrainingError": "cl_ast.errors",
    "Tuning": "cl_ast.continual.rebuild_routing",
    "Window": "cl_ast.audio.windows",
}

__all__ = sorted(_PUBLIC)
__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'cl_ast' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

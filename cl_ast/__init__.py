"""cl-ast: one frozen Audio Spectrogram Transformer, one small adapter per task.

Importing this package imports no torch: public names are resolved when they are first used.
"""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "ClAstError": "cl_ast.errors",
}

__all__ = sorted(_PUBLIC)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'cl_ast' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

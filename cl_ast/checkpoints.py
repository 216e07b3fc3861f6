"""The former name of `cl_ast.backbone.pretrained`, for scripts that load a task into peft; kept for one release."""

import warnings

from cl_ast.backbone.pretrained import AST_BASE_HUB, MINI, MINI_FOLDER, SHORT_NAMES, default_name, load, sizes

__all__ = ["AST_BASE_HUB", "MINI", "MINI_FOLDER", "SHORT_NAMES", "default_name", "load", "sizes"]

warnings.warn("cl_ast.checkpoints is now cl_ast.backbone.pretrained", DeprecationWarning, stacklevel=2)

"""An adapter on its own, as a folder that another registry, or `peft`, can read."""

from cl_ast.sharing.accept import accept, known_backbone
from cl_ast.sharing.folder import Incoming, read, write
from cl_ast.sharing.hub import pull, push

__all__ = ["Incoming", "accept", "known_backbone", "pull", "push", "read", "write"]

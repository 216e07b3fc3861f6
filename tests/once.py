"""What takes seconds is made once for all processes of a test run."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock


def made_once(folder: Path, make: Callable[[Path], object]) -> Path:
    """Return `folder`, which `make` fills if no process has made it yet; another one waits meanwhile."""
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            part = folder.with_name(f"{folder.name}.part")
            make(part)
            part.rename(folder)
    return folder


def measured_once(folder: Path, put: Callable[[object, str, object], None] = setattr) -> None:
    """Measure the router space of a backbone once: this takes five seconds, and follows from backbone and kind alone.

    A further new registry gets it as any opened registry does, from the bytes that the first one stored. They are kept
    in `folder`. `put` replaces an attribute, as `setattr` does.
    """
    from cl_ast.router.space import RouterSpace

    measure = RouterSpace.of

    def of(backbone: Any, *kind: str) -> RouterSpace:
        file = folder / "-".join(("space", backbone.fingerprint, *kind))
        if file.exists():
            return RouterSpace.from_bytes(file.read_bytes(), backbone)
        space = measure(backbone, *kind)
        part = file.with_suffix(f".{os.getpid()}")
        part.write_bytes(space.to_bytes())
        part.replace(file)
        return space

    put(RouterSpace, "of", of)

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
    """Measure each backbone for the router once, on sounds that are made once: both take seconds and never change.

    They are kept in `folder`. `put` replaces an attribute, as `setattr` does.
    """
    import torch

    from cl_ast.router import space

    def kept(name: str, make: Callable[[], Any]) -> Any:
        file = folder / name
        if not file.exists():
            part = file.with_suffix(f".{os.getpid()}")
            torch.save(make(), part)
            part.replace(file)
        return torch.load(file, weights_only=False)

    measure, synthetic_clips = space.measure, space.synthetic_clips
    put(space, "synthetic_clips", lambda: kept("synthetic-clips", synthetic_clips))
    put(space, "measure", lambda backbone: kept(f"measured-{backbone.fingerprint}", lambda: measure(backbone)))

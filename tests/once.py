"""What takes seconds is made once for all processes of a test run."""

import hashlib
import os
from collections.abc import Callable, Hashable, Sequence
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


def described_once(put: Callable[[object, str, object], None]) -> None:
    """Encode a clip as MP3, and run the backbone over a batch of sounds for the router, once in this process.

    The tests learn the routing of the same clips hundreds of times, and this is most of the work. The product computes
    everything that is kept, and the tests in `tests/cl_ast`, with those of the router, do without this.
    """
    from cl_ast.audio.reading import SAMPLE_RATE
    from cl_ast.router import copies, space

    coded, pooled = copies.coded, space.RouterSpace._pooled
    found: dict[Hashable, Any] = {}

    def kept(key: Hashable, sounds: Sequence[Any], make: Callable[[], Any]) -> Any:
        exactly = key, len(sounds), hashlib.sha256(b"".join(sound.tobytes() for sound in sounds)).digest()
        if exactly not in found:
            found[exactly] = make()
        return found[exactly]

    def coded_once(clip: Any) -> Any:
        few_bytes = len(clip) <= SAMPLE_RATE
        return kept("coded", [clip], lambda: coded(clip)) if few_bytes else coded(clip)

    def pooled_once(self: Any, sounds: Sequence[Any]) -> Any:
        by = self.description_id, self.backbone.dtype, self.backbone.device
        return kept(by, sounds, lambda: pooled(self, sounds))

    put(copies, "ALTERATIONS", [coded_once if one is coded else one for one in copies.ALTERATIONS])
    put(space.RouterSpace, "_pooled", pooled_once)

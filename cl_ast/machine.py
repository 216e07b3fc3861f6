"""What cl-ast runs on: the device, and the packages a result may depend on."""

from importlib.metadata import PackageNotFoundError, version

import torch

from cl_ast.errors import ClAstError


def pick_device(name: str) -> torch.device:
    """ "auto" is the GPU where there is one. Raises ClAstError for a device that is not there."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if there[kind]))
    if not there.get(name, False):
        raise ClAstError(f"no device {name!r} here; use --device cpu")
    return torch.device(name)


def package_versions() -> dict[str, str]:
    """What a result may depend on."""
    found = {}
    for package in ("cl-ast", "torch", "transformers", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found

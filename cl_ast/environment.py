"""The versions of the packages that a result may depend on."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("cl-ast", "torch", "transformers", "numpy")


def package_versions() -> dict[str, str]:
    """Return the versions of cl-ast and of the packages whose arithmetic decides a task's weights."""
    found = {package: _version(package) for package in PACKAGES}
    return {package: of_it for package, of_it in found.items() if of_it is not None}


@cache  # reading what a package says of itself takes milliseconds
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None

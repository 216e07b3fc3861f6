"""The versions of the packages that a result may depend on."""

from importlib.metadata import PackageNotFoundError, version


def package_versions() -> dict[str, str]:
    """Return the versions of cl-ast and of the packages whose arithmetic decides a task's weights."""
    found = {}
    for package in ("cl-ast", "torch", "transformers", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found

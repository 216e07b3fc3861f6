"""The versions of the packages that a result may depend on."""

from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("cl-ast", "torch", "transformers", "numpy")


def package_versions() -> dict[str, str]:
    """Return the versions of cl-ast and of the packages whose arithmetic decides a task's weights."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found

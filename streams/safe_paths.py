"""Tells whether a path from a file that others wrote stays inside the folder it belongs to."""

from pathlib import PurePosixPath, PureWindowsPath


def leads_outside(name: str) -> bool:
    """Return whether a path is absolute, climbs with `..` or is no path at all, read as POSIX or as Windows would."""
    windows = PureWindowsPath(name)
    absolute = PurePosixPath(name).is_absolute() or bool(windows.drive or windows.root)
    return absolute or ".." in windows.parts or "\0" in name

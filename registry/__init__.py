"""The registry of cl-ast: which tasks were learned, their adapter files, and what was measured after each.

A registry is a folder with `registry.db` (SQLite) and `adapters/` (safetensors files named by their SHA-256), or for a
team a PostgreSQL database and any store that fsspec reaches. This package imports neither torch nor transformers, and
it imports SQLAlchemy only to change something, so that listing tasks starts at once.

    with Registry.open("my-registry") as registry:
        for task in registry.tasks():
            ...

A task and a version are identified by their ids. Ids are never reused, so an old one finds nothing rather than
something else. A name is for people: it is unique whatever its case, and free again after `remove`. An adapter is
identified by its content: its file is named by its hash, is never changed, and describes itself in its header.
"""

from registry.records import (
    Accuracy,
    BackboneRecord,
    BackupReport,
    Dropped,
    GcReport,
    LastChange,
    Mode,
    Outdated,
    Overview,
    Problem,
    RebuildReport,
    SharedPart,
    Storage,
    TaskRecord,
    Undone,
    Unnamed,
    VersionRecord,
)
from registry.registry import Registry
from registry.version_facts import NewVersion

__all__ = [
    "Accuracy",
    "BackboneRecord",
    "BackupReport",
    "Dropped",
    "GcReport",
    "LastChange",
    "Mode",
    "NewVersion",
    "Outdated",
    "Overview",
    "Problem",
    "RebuildReport",
    "Registry",
    "SharedPart",
    "Storage",
    "TaskRecord",
    "Undone",
    "Unnamed",
    "VersionRecord",
]

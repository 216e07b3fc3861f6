"""The memory of cl-ast: which tasks were learned, their adapter files, and what was measured after each.

A registry is a folder with `registry.db` (SQLite) and `adapters/` (safetensors files named by their
SHA-256), or for a team a PostgreSQL database and any store that fsspec reaches. This package imports neither
torch nor transformers, and SQLAlchemy only to change something, so listing tasks starts in no time.

    with Registry.open("my-registry") as registry:
        for task in registry.tasks():
            ...

Identity: a task is its id, and a version is its id; ids are never reused, so a stale one finds nothing
rather than something else. A name is how people say it: unique whatever its case, and free again after
`remove`. An adapter is its content: the file is named by its hash, never changed, and says in its own
header what it is.
"""

from registry.records import (
    Accuracy,
    BackboneRecord,
    Dropped,
    GcReport,
    Mode,
    Overview,
    Problem,
    RebuildReport,
    Storage,
    TaskRecord,
    VersionRecord,
)
from registry.registry import Registry
from registry.version_facts import NewVersion

__all__ = [
    "Accuracy",
    "BackboneRecord",
    "Dropped",
    "GcReport",
    "Mode",
    "NewVersion",
    "Overview",
    "Problem",
    "RebuildReport",
    "Registry",
    "Storage",
    "TaskRecord",
    "VersionRecord",
]

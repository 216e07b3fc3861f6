"""Where the caches on this machine's disk are. Whatever is in them can be made or fetched again."""

import os
from pathlib import Path

FOLDER = "CL_AST_CACHE"
"""The environment variable for the folder of the features."""


def features() -> Path:
    """Return the folder of the features of clips: below the user's cache folder, or the one of the environment."""
    return Path(os.environ.get(FOLDER) or _of_user()) / "features"


def checkpoints() -> Path:
    """Return the folder of the checkpoints of trainings, from which killed ones go on."""
    return _of_user() / "training"


def adapters() -> Path:
    """Return the folder of adapter files whose registry keeps them in a bucket."""
    return _of_user() / "adapters"


def _of_user() -> Path:
    import platformdirs  # here, since most commands need no cache

    return Path(platformdirs.user_cache_dir("cl-ast"))

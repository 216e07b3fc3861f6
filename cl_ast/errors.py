"""Every error that cl-ast raises on purpose, as one tree.

    ClAstError
    ├── AudioError          a clip that cannot be read or holds nothing usable
    ├── BackboneError       a backbone that cannot be loaded, or that is not the one of the registry
    ├── MethodError         an adaptation method that does not exist or does not fit
    ├── StreamError         a data set or folder that is missing, incomplete or unusable
    ├── TrainingError       a task that cannot be trained
    └── RegistryError       the registry cannot carry out an operation
        ├── RegistryNotFoundError
        ├── TaskNotFoundError
        ├── TaskExistsError
        └── CorruptRegistryError   a stored file differs from what the database says of it
            └── NotFiniteError     a task is made of, or answers with, values that are not numbers

Each message says what happened, where, and what to do. This module imports nothing, so that `registry` and
`streams` can raise errors of the same tree without importing anything else from `cl_ast`.
"""


class ClAstError(Exception):
    """The base class of every error that cl-ast raises on purpose."""


class AudioError(ClAstError):
    """Raised when a clip cannot be read, or holds nothing usable."""


class BackboneError(ClAstError):
    """Raised when a backbone cannot be loaded, or is not the one of the registry."""


class MethodError(ClAstError):
    """Raised when an adaptation method does not exist, or its options do not fit."""


class StreamError(ClAstError):
    """Raised when a data set or a folder of clips is missing, incomplete or unusable."""


class TrainingError(ClAstError):
    """Raised when a task cannot be trained with the given data and options."""


class RegistryError(ClAstError):
    """Raised when the registry cannot carry out an operation."""


class RegistryNotFoundError(RegistryError):
    """Raised when there is no registry at a place, and none is to be made."""


class TaskNotFoundError(RegistryError):
    """Raised when the registry has no task of that name."""


class TaskExistsError(RegistryError):
    """Raised when the registry already has a task of that name."""


class CorruptRegistryError(RegistryError):
    """Raised when a stored file differs from what the database says of it."""


class NotFiniteError(CorruptRegistryError):
    """Raised when a task is made of, or answers with, values that are not numbers. No other task is affected."""

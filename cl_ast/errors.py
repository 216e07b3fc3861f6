"""Every error a user can meet, as one tree.

    ClAstError
    ├── AudioError          a clip that cannot be read or holds nothing usable
    ├── BackboneError       a backbone that cannot be loaded, or is not the registry's
    ├── MethodError         an adaptation method that does not exist or does not fit
    ├── StreamError         a data set or folder that is missing, incomplete or unusable
    ├── TrainingError       a task that cannot be trained
    └── RegistryError       the registry cannot do what was asked
        ├── TaskNotFoundError
        ├── TaskExistsError
        └── CorruptRegistryError   a stored file is not what the database says

Each message says what happened, where, and what to do. This module imports nothing, so that `registry` and
`streams` can raise from the same tree without knowing anything else of `cl_ast`.
"""


class ClAstError(Exception):
    """Base of every error that cl-ast raises on purpose."""


class AudioError(ClAstError):
    """A clip cannot be read, or holds nothing usable."""


class BackboneError(ClAstError):
    """A backbone cannot be loaded, or is another one than the registry's."""


class MethodError(ClAstError):
    """An adaptation method does not exist, or its options do not fit."""


class StreamError(ClAstError):
    """A data set or folder of clips is missing, incomplete or unusable."""


class TrainingError(ClAstError):
    """A task cannot be trained as asked."""


class RegistryError(ClAstError):
    """The registry cannot do what was asked."""


class TaskNotFoundError(RegistryError):
    """No task of that name is in the registry."""


class TaskExistsError(RegistryError):
    """A task of that name is in the registry already."""


class CorruptRegistryError(RegistryError):
    """A stored file is not what the database says it is."""

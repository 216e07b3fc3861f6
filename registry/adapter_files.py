"""The adapter files: named by the SHA-256 of their content, in a store, with a cache in front where that is far."""

import hashlib
import re
from collections.abc import Iterable
from contextlib import suppress

from cl_ast.errors import RegistryError
from registry.file_stores import LocalFolder, Store, Stored

_SUFFIX = ".safetensors"
_OURS = re.compile(r"[0-9a-f]{64}\.safetensors|\.[0-9a-f]{16}\.tmp")


class AdapterFiles:
    """The adapters of one registry.

    A cached file is named by its content too, so it is never out of date. Only whole files get in, and whoever
    reads one hashes it: a damaged one is fetched again.
    """

    def __init__(self, store: Store, cache: LocalFolder | None = None) -> None:
        self.store = store
        self._cache = cache

    def address(self, sha256: str) -> str:
        return self.store.address(name_of(sha256))

    def write(self, data: bytes) -> str:
        """Keep `data` for good, and return its SHA-256. Raises RegistryError; there is no such file then."""
        sha256 = digest(data)
        self.store.write(name_of(sha256), data)
        self._remember(sha256, data)
        return sha256

    def read(self, sha256: str) -> bytes | None:
        """The file's bytes, from nearby where they are whole there; else unchecked, and None where there is no file."""
        near = self._cache.read(name_of(sha256)) if self._cache else None
        if near is not None and digest(near) == sha256:
            return near
        data = self.stored(name_of(sha256))
        if data is not None and digest(data) == sha256:
            self._remember(sha256, data)
        return data

    def stored(self, name: str) -> bytes | None:
        """As `read`, of any file, and never from the cache."""
        return self.store.read(name)

    def delete(self, names: Iterable[str]) -> None:
        """Drop files that nothing names any more."""
        for name in names:
            self.store.delete(name)
            if self._cache:
                self._cache.delete(name)

    def adapters(self) -> list[Stored]:
        """Every adapter file, whatever its name, in a stable order."""
        return [file for file in self.store.files() if file.name.endswith(_SUFFIX)]

    def ours(self) -> list[Stored]:
        """Every file that only a registry can have written, interrupted writes included."""
        return [file for file in self.store.files() if _OURS.fullmatch(file.name)]

    def _remember(self, sha256: str, data: bytes) -> None:
        if self._cache:
            with suppress(RegistryError):  # a full disk here is no reason to fail
                self._cache.prepare()
                self._cache.write(name_of(sha256), data)


def name_of(sha256: str) -> str:
    return f"{sha256}{_SUFFIX}"


def is_temporary(name: str) -> bool:
    """Whether a file of ours is one whose writing was interrupted."""
    return name.endswith(".tmp")


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

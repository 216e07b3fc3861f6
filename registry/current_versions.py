"""The current versions of tasks for who asks again and again: queried only where they may have changed since."""

from collections.abc import Collection, Mapping
from types import MappingProxyType

from registry import rows
from registry.database import Database, Stamp
from registry.records import VersionRecord


class CurrentVersions:
    """Reads current versions, and keeps them as long as the database promises that it is unchanged.

    It may be used from several threads at once.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: tuple[Stamp | None, Mapping[str, VersionRecord]] = None, MappingProxyType({})

    def of(self, names: Collection[str]) -> dict[str, VersionRecord]:
        """Return the version of each of these tasks, as they are at one moment. Raises TaskNotFoundError."""
        stamp = self._database.stamp()  # first, so that a change during the query is one after it
        known_at, known = self._known
        is_unchanged = stamp is not None and stamp == known_at
        if is_unchanged and known.keys() >= set(names):
            return {name: known[name] for name in names}
        with self._database.read() as reader:
            found = rows.current(reader, names)
            for name in set(names) - set(found):  # one that is not there, or another spelling
                found[name] = rows.task(reader, name).version
        # Only as the tasks spell them, of which there are not more than tasks.
        own = {name: version for name, version in found.items() if name == version.task}
        self._known = stamp, {**known, **own} if is_unchanged else own
        return found

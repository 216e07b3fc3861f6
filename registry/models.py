"""The tables. `schema` has the number of this version of them, and `migrations` the way from earlier ones.

Whatever must always be true is a constraint here, so that no code can break it.

    backbone 1 ──< versions >── 1 tasks      tasks.current_version_id ──> versions
    shared_parts 0..1 ──< versions
    versions 1 ──< measurements 1 ──< accuracies >── 1 versions
    identity (one row)      last_change (one row)

An accuracy belongs to the *version* that was measured: a task's later version never inherits it.
"""

from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Connection,
    DateTime,
    Dialect,
    ForeignKey,
    Integer,
    String,
    TypeDecorator,
    UniqueConstraint,
    create_mock_engine,
    make_url,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Blob = bytes  # a name for the type inside a class that has a column called bytes
_NEVER_REUSE_IDS = {"sqlite_autoincrement": True}
_Long = Integer().with_variant(BigInteger(), "postgresql")  # of 64 bits, as every integer in SQLite is


class Instant(TypeDecorator[datetime]):
    """A time in UTC. SQLite stores no time zone, so it is added again when the time is read."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    """The base of every table."""


class BackboneRow(Base):
    """The one backbone. There cannot be a second row."""

    __tablename__ = "backbone"
    __table_args__ = (CheckConstraint("id = 1", name="one_backbone"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str]
    fingerprint: Mapped[str]
    parameters: Mapped[int] = mapped_column(_Long)
    bytes: Mapped[int] = mapped_column(_Long)
    background: Mapped[Blob]


class IdentityRow(Base):
    """Which registry this is: the same id is in the store of the adapters. There cannot be a second row."""

    __tablename__ = "identity"
    __table_args__ = (CheckConstraint("id = 1", name="one_identity"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    registry_id: Mapped[str] = mapped_column(String(32))


class LastChangeRow(Base):
    """The last change of tasks, for `undo`. There cannot be a second row.

    `what` is the change in words, and `undo` the JSON that takes it back (`last_change`).
    """

    __tablename__ = "last_change"
    __table_args__ = (CheckConstraint("id = 1", name="one_change"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str]
    what: Mapped[str]
    created: Mapped[datetime] = mapped_column(Instant)
    undo: Mapped[str]


class TaskRow(Base):
    """A task. `key` is the same for all spellings of its name (`names.key`); no version number is given twice."""

    __tablename__ = "tasks"
    __table_args__ = (_NEVER_REUSE_IDS,)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    key: Mapped[str] = mapped_column(unique=True)
    created: Mapped[datetime] = mapped_column(Instant)
    last_number: Mapped[int]
    # This is checked when the transaction ends, since a task and its first version point at each other.
    current_version_id: Mapped[int] = mapped_column(
        ForeignKey("versions.id", name="current", deferrable=True, initially="DEFERRED", use_alter=True),
        unique=True,
    )


class SharedPartRow(Base):
    """A shared part, as `records.SharedPart`. `key` is the same for all spellings of its name (`names.key`)."""

    __tablename__ = "shared_parts"
    __table_args__ = (CheckConstraint("length(sha256) = 64", name="shared_sha256_length"), _NEVER_REUSE_IDS)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    key: Mapped[str] = mapped_column(unique=True)
    method: Mapped[str]
    tasks: Mapped[list[str]] = mapped_column(JSON)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    bytes: Mapped[int] = mapped_column(_Long)
    created: Mapped[datetime] = mapped_column(Instant)


class VersionRow(Base):
    """One learned version of a task; `version_facts` has what most columns mean."""

    __tablename__ = "versions"
    __table_args__ = (
        UniqueConstraint("task_id", "number"),
        CheckConstraint("number > 0", name="number_from_one"),
        CheckConstraint("length(adapter_sha256) = 64", name="sha256_length"),
        _NEVER_REUSE_IDS,
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id", ondelete="CASCADE"))
    number: Mapped[int]
    backbone_id: Mapped[int] = mapped_column(ForeignKey("backbone.id"))
    method: Mapped[str]
    labels: Mapped[list[str]] = mapped_column(JSON)
    adapter_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    adapter_bytes: Mapped[int] = mapped_column(_Long)
    trainable_parameters: Mapped[int] = mapped_column(_Long)
    learned_accuracy: Mapped[float | None]
    seed: Mapped[int] = mapped_column(_Long)
    seconds: Mapped[float]
    source: Mapped[dict[str, Any]] = mapped_column(JSON)
    data_fingerprint: Mapped[str]
    protocol: Mapped[str]
    packages: Mapped[dict[str, str]] = mapped_column(JSON)
    created: Mapped[datetime] = mapped_column(Instant)
    # These come last, and `training` has a default in the database, as in the tables that an upgrade adds them to.
    training: Mapped[dict[str, Any]] = mapped_column(JSON, server_default="{}")
    shared: Mapped[str | None] = mapped_column(String(64), ForeignKey("shared_parts.sha256"))


class MeasurementRow(Base):
    """Accuracies measured together, after one version had been learned."""

    __tablename__ = "measurements"
    __table_args__ = (_NEVER_REUSE_IDS,)

    id: Mapped[int] = mapped_column(primary_key=True)
    # NULL once that version is removed; what was measured of other tasks then stays.
    after_version_id: Mapped[int | None] = mapped_column(ForeignKey("versions.id", ondelete="SET NULL"), index=True)
    created: Mapped[datetime] = mapped_column(Instant)


class AccuracyRow(Base):
    """Accuracy of one version. `routed` is by task id; the id of a removed task stays, and no task ever gets it.

    Beside the ids, `routed` has a checksum of the versions that the router chose among (`history`).
    """

    __tablename__ = "accuracies"
    __table_args__ = (
        UniqueConstraint("measurement_id", "version_id", "mode"),
        CheckConstraint("mode IN ('oracle', 'auto')", name="mode_known"),
        CheckConstraint("accuracy BETWEEN 0 AND 1", name="accuracy_fraction"),
        CheckConstraint("clips >= 0", name="clips_counted"),
        _NEVER_REUSE_IDS,
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    measurement_id: Mapped[int] = mapped_column(ForeignKey("measurements.id", ondelete="CASCADE"))
    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id", ondelete="CASCADE"), index=True)
    mode: Mapped[str]
    accuracy: Mapped[float]
    clips: Mapped[int]
    routed: Mapped[dict[str, int]] = mapped_column(JSON)


def create_tables(connection: Connection) -> None:
    """Create the tables and their indexes in a database that has none of them."""
    for statement in _statements(connection.engine.url.drivername):
        connection.exec_driver_sql(statement)


@cache
def _statements(driver: str) -> tuple[str, ...]:
    """Return the statements that create the tables. SQLAlchemy takes longer to compile them than SQLite to run them."""
    found: list[str] = []
    dialect = make_url(f"{driver}://").get_dialect()()
    engine = create_mock_engine(f"{driver}://", lambda ddl, *_: found.append(str(ddl.compile(dialect=dialect))))
    Base.metadata.create_all(engine, checkfirst=False)
    return tuple(found)

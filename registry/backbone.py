"""Sets the one backbone of a registry, and what the router needs to know of it."""

from dataclasses import asdict, replace

from cl_ast.errors import RegistryError
from registry import rows
from registry.adapter_files import AdapterFiles
from registry.database import Database
from registry.identity import changing
from registry.records import BackboneRecord


def set_backbone(database: Database, files: AdapterFiles, record: BackboneRecord) -> BackboneRecord:
    """Do what `Registry.set_backbone` says."""
    from registry.models import BackboneRow

    with changing(database, files) as writer:
        known = rows.backbone(writer)
        if known is None:
            writer.insert(BackboneRow, [{"id": rows.ONE_ROW, **asdict(record)}])
        elif known.fingerprint != record.fingerprint:
            raise RegistryError(
                f"the registry in {database.place} has the backbone {known.name} ({known.fingerprint}), and "
                f"{record.name} ({record.fingerprint}) is another: use the first, or another registry, "
                "or train the tasks again over the other with `cl-ast relearn --to REGISTRY`"
            )
        elif not known.background:
            rows.backbone_row(writer).background = record.background
            return replace(known, background=record.background)
    return known or record


def replace_background(database: Database, files: AdapterFiles, background: bytes) -> None:
    """Do what `Registry.replace_background` says."""
    with changing(database, files) as writer:
        rows.require_backbone(writer)
        rows.backbone_row(writer).background = background

"""Writes `schema<number>.sql` and `schema<number>.postgres.sql` for the schema of this cl-ast; needs pg_dump:

    CL_AST_POSTGRES=… python tests/registry/data/make_schema.py

They hold two tasks, one of them with two versions, and what was measured. Adapters are not kept, as no migration
reads them. The files of earlier schemas stay as the cl-ast of that time wrote them.
"""

import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import places
from conftest import BACKBONE, make_adapter, make_new

from registry import Accuracy, Registry
from registry.schema import VERSION as SCHEMA_VERSION

HERE = Path(__file__).parent


def fill(location: str | Path) -> None:
    with Registry.open(location) as reg:
        reg.set_backbone(BACKBONE)
        reg.commit("birds", make_adapter(1), make_new(), [Accuracy("birds", "oracle", 0.5, 4)])
        reg.commit("rain", make_adapter(2), make_new(), [Accuracy("birds", "auto", 0.25, 4, {"rain": 3, "birds": 1})])
        reg.commit("birds", make_adapter(3), make_new(labels=("owl", "wren")), replace=True)


with tempfile.TemporaryDirectory() as place:
    fill(place)
    with closing(sqlite3.connect(Path(place) / "registry.db")) as connection:
        pragmas = [
            f"PRAGMA {name} = {connection.execute(f'PRAGMA {name}').fetchone()[0]};"
            for name in ("application_id", "user_version")
        ]
        lines = [*pragmas, *connection.iterdump()]
(HERE / f"schema{SCHEMA_VERSION}.sql").write_text("\n".join(lines) + "\n")

name = places.new_database()
with tempfile.TemporaryDirectory() as folder:
    server = places.database(name, Path(folder) / "adapters")
    fill(server.location)
    url = str(server.location).partition("?")[0].replace("+psycopg", "")
    dump = subprocess.run(["pg_dump", "--inserts", "--no-owner", url], check=True, capture_output=True, text=True)
kept = [line for line in dump.stdout.splitlines() if line and not line.startswith(("--", "\\"))]
(HERE / f"schema{SCHEMA_VERSION}.postgres.sql").write_text("\n".join(kept) + "\n")
places.drop(name)

"""How `schema1.sql` was made: `python tests/registry/data/make_schema1.py`, with the cl-ast whose schema is 1.

Two tasks, one of them with two versions, and what was measured; adapters are not kept, as no migration reads them.
"""

import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from conftest import TRUNK, make_adapter, make_new

from registry import Accuracy, Registry
from registry.models import SCHEMA_VERSION

assert SCHEMA_VERSION == 1, "this cl-ast has another schema"
with tempfile.TemporaryDirectory() as place:
    with Registry.open(place) as reg:
        reg.set_backbone(TRUNK)
        reg.commit("birds", make_adapter(1), make_new(), [Accuracy("birds", "oracle", 0.5, 4)])
        reg.commit("rain", make_adapter(2), make_new(), [Accuracy("birds", "auto", 0.25, 4, {"rain": 3, "birds": 1})])
        reg.commit("birds", make_adapter(3), make_new(labels=("owl", "wren")), replace=True)
    with closing(sqlite3.connect(Path(place) / "registry.db")) as connection:
        pragmas = [
            f"PRAGMA {name} = {connection.execute(f'PRAGMA {name}').fetchone()[0]};"
            for name in ("application_id", "user_version")
        ]
        lines = [*pragmas, *connection.iterdump()]
(Path(__file__).parent / "schema1.sql").write_text("\n".join(lines) + "\n")

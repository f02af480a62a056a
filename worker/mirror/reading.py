"""A mirror as views in DuckDB, for those who read it: all layers, and the views over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.mirror.duck import no_rows, read_parquet
from worker.mirror.layout import FAILED_EVENT, LAYERS, RULE_VERSION, VIEWS

if TYPE_CHECKING:
    from pathlib import Path

    from worker.mirror.duck import Duck
    from worker.mirror.layout import Layer
    from worker.mirror.manifest import Manifest


def make_views(duck: Duck, folder: Path, manifest: Manifest, *, tenant: str | None = None) -> None:
    """Make a view for each layer and for each of `VIEWS`. A layer without files is an empty one.

    They read the files that this manifest names: whole runs alone, whatever a run does meanwhile. A run deletes files
    that it has merged, though; who reads for long reads the manifest again then.

    With a `tenant` they hold nothing of another one. Rules are of all; dead letters, which name no tenant for certain,
    are there in a mirror of that tenant alone.

    Raises:
        DuckError: a file is missing, or cannot be read.
    """
    duck.run("SET VARIABLE tenant = ?", tenant)
    for layer in LAYERS:
        files = [folder / file.path for file in manifest.files(layer.name)]
        duck.run(f"CREATE OR REPLACE TEMP VIEW {layer.name} AS {_query(layer, files)}{_of(layer, tenant, manifest)}")
    for view in VIEWS:
        duck.run(f"CREATE OR REPLACE TEMP VIEW {view.name} AS {view.query}")


def _of(layer: Layer, tenant: str | None, manifest: Manifest) -> str:
    """Return the condition that a row is of the tenant; its name is no part of the text."""
    if tenant is None or layer is RULE_VERSION:
        return ""
    if layer is FAILED_EVENT:
        return "" if manifest.tenant == tenant else " WHERE false"
    return " WHERE tenant_id = getvariable('tenant')"


def _query(layer: Layer, files: list[Path]) -> str:
    if files:
        # A column that older files lack comes from newer ones, or from the empty row set.
        return f"SELECT * FROM (FROM {read_parquet(files)} UNION ALL BY NAME ({no_rows(layer)})) AS rows_of"
    return f"SELECT * FROM ({no_rows(layer)}) AS rows_of"

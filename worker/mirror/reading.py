"""A mirror as views in DuckDB, for those who read it: all layers, and the views over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.mirror.duck import no_rows, read_parquet
from worker.mirror.layout import FAILED_EVENT, LAYERS, RULE_VERSION, VIEWS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from worker.mirror.duck import Duck
    from worker.mirror.layout import Layer
    from worker.mirror.manifest import Manifest


def make_views(duck: Duck, folder: Path, manifest: Manifest, *, tenants: Sequence[str] | None = None) -> None:
    """Make a view for each layer and for each of `VIEWS`. A layer without files is an empty one.

    They read the files that this manifest names: whole runs alone, whatever a run does meanwhile. A run deletes files
    that it has merged, though; who reads for long reads the manifest again then.

    With `tenants` they hold nothing of others. Rules are of all; dead letters, which name no tenant for certain, are
    there in a mirror of one of these tenants alone.

    Raises:
        DuckError: a file is missing, or cannot be read.
    """
    duck.run("SET VARIABLE tenants = CAST(? AS VARCHAR[])", None if tenants is None else list(tenants))
    for layer in LAYERS:
        files = [folder / file.path for file in manifest.files(layer.name)]
        duck.run(f"CREATE OR REPLACE TEMP VIEW {layer.name} AS {_query(layer, files)}{_of(layer, tenants, manifest)}")
    for view in VIEWS:
        duck.run(f"CREATE OR REPLACE TEMP VIEW {view.name} AS {view.query}")


def _of(layer: Layer, tenants: Sequence[str] | None, manifest: Manifest) -> str:
    """Return the condition that a row is of the tenants; their names are no part of the text."""
    if tenants is None or layer is RULE_VERSION:
        return ""
    if layer is FAILED_EVENT:
        return "" if manifest.tenant in tenants else " WHERE false"
    return " WHERE list_contains(getvariable('tenants'), tenant_id)"


def _query(layer: Layer, files: list[Path]) -> str:
    if files:
        # A column that older files lack comes from newer ones, or from the empty row set.
        return f"SELECT * FROM (FROM {read_parquet(files)} UNION ALL BY NAME ({no_rows(layer)})) AS rows_of"
    return f"SELECT * FROM ({no_rows(layer)}) AS rows_of"

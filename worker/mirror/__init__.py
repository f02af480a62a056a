"""The mirror: the books of PostgreSQL as Parquet files, for warehouses and for `ach analyze`."""

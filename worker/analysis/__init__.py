"""Answers for product and operations, from a mirror: questions, what is asked of DuckDB, and how answers are shown."""

"""What the worker means. Pure: no I/O, clock, chance or log."""

"""The way of an event through the database: gather, decide, write, announce."""

"""NATS: the only room that knows it."""

"""NATS: the only room that imports nats-py. `private.py` is the only file that uses its private names."""

"""The worker: everything that touches the world; dsl/ decides, sql/ asks, and this package carries it out."""

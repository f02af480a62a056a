"""What is measured side by side: each a program of its own, run as `python -m bench.peers.NAME`.

They take NATS_URL and DATABASE_URL from the environment, find streams and tables made, and work until they are ended.
"""

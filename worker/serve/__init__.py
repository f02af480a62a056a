"""`ach serve`: what readers may see over HTTP, as events while a page is open, and as a service on NATS.

It only reads. The extra `serve` has what it needs; nothing else of the worker imports this room.
"""

"""`ach console`: pages for product and operations, rendered on the server.

`access` and `sessions` say who may see what, `books` reads the database, `pulse` is what all viewers of the first page
share, and the modules named after pages turn what was read into what their templates show.
"""

"""The PostgreSQL side: an embedded server, roles, migrations of schema `raw`, connections.

What belongs here: where PostgreSQL is, as whom one speaks to it, and what must exist in it before anything
is loaded. What does not: reading files, loading rows, models. Nothing here reads the environment; paths and
addresses are handed in.
"""

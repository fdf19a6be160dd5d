"""Migrations of schema `raw`, run by `warehouse.preparing` as the owner of the warehouse.

One module under `versions/` per step, named `NNNN_what.py` with revision `NNNN`, in plain SQL. A step that has been
released is never edited; there are no downgrades: go back by restoring a backup.
"""

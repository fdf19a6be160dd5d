"""Alembic's entry: runs the steps on the connection it is handed, and keeps its mark in schema `raw`."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"], version_table="migration", version_table_schema="raw"
)
with context.begin_transaction():
    context.run_migrations()

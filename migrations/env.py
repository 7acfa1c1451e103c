"""Owns how Alembic runs a revision: on the connection it is handed, inside that connection's transaction."""

from alembic import context

from backbone.database.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
    transactional_ddl=connection.dialect.name in ("sqlite", "postgresql"),
    transaction_per_migration=False,
)
context.run_migrations()

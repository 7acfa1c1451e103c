"""The database's schema, revision by revision (Alembic). It is not imported: backbone.database.migrate runs it."""

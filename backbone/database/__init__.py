"""The database: engine, unit of work, tables. It must not know what any service decides."""

"""The agents' tools over MCP, as a client of the API. It must not know the log or the database."""

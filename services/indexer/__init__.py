"""The indexer: run summaries to text, embedding and fingerprint in the search index. It knows no other service."""

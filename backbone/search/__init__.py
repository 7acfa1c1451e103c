"""The search index over run summaries: port and adapters. It must not know how summaries are worded."""

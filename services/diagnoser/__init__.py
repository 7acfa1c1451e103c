"""Owns why a run went wrong: evidence, ranked causes, the text that says so. Other services must not import it."""

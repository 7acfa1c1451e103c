"""Owns which error a line that could not be decoded is. It must not know any record."""

from pydantic import ValidationError

from backbone.errors import RecordUndecodable, RecordUnknown


def undecodable(topic: str, error: ValidationError) -> RecordUndecodable:
    """RecordUnknown where the line names a type that is none of its topic's, as a newer version's records do."""
    problems = error.errors(include_url=False)
    for problem in problems:
        if problem["type"] == "union_tag_invalid":
            return RecordUnknown(f"{topic}: '{problem['ctx']['tag']}' is no type of record that this version knows")
        if problem["type"] == "literal_error" and problem["loc"] == ("type",):
            return RecordUnknown(f"{topic}: '{problem['input']}' is no type of record that this version knows")
    return RecordUndecodable(f"no record of {topic}: {problems[0]['msg']}")

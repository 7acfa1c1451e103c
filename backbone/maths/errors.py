"""The exceptions of the maths package, by who can act.

Must not know the callers: a service translates these into its own errors.
"""


class MathsError(ValueError):
    """Root: the values handed in cannot be computed with; the caller must change them."""


class SketchFormatError(MathsError):
    """A serialised sketch is damaged or of another format; the record that carried it cannot be decoded."""

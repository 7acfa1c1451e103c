"""Owns what was said in the conversations of one iteration. It is forgotten with the iteration and never logged."""

TALKS = " talks"
"""Under this name the values of an iteration hold its Talks; no variable can have it."""

Message = dict[str, str]


class Talk:
    """One conversation: every question with its answer, in order."""

    __slots__ = ("_sent", "messages")

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._sent: list[Message] = []

    @property
    def turn(self) -> int:
        """How many questions were answered."""
        return len(self.messages) // 2

    def ask(self, prompt: str) -> list[Message]:
        """The messages to send."""
        self._sent = [*self.messages, {"role": "user", "content": prompt}]
        return self._sent

    def answered(self, text: str) -> None:
        """A whole answer has come. Of several to the same question, the last counts."""
        self.messages = [*self._sent, {"role": "assistant", "content": text}]


class Talks:
    """Those of one iteration by the name of their step. number: of the iteration over the whole run."""

    __slots__ = ("_by_step", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self._by_step: dict[str, Talk] = {}

    def of(self, step: str) -> Talk:
        return self._by_step.setdefault(step, Talk())

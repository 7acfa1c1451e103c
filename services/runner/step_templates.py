"""Owns how the steps of a scenario become requests: ready ones, or ones with blanks. It must not send any.

Framing headers are ours alone: a scenario that set them could make the server read another request than we count.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from schemas.auth import Auth
from schemas.llm import Llm
from schemas.request import Request
from schemas.scenario import Scenario, SetupStep, Step
from services.runner.bodies import ReadFile, body_of, json_with_blank, pairs, percent
from services.runner.conversations import TALKS, Talks
from services.runner.errors import RenderFailed, ScenarioNotRunnable
from services.runner.files import read_file
from services.runner.llm_asks import Ask, asks_of
from services.runner.llm_reading import AnswerReader, AskReader, LlmReader
from services.runner.llm_request import chat_body, llm_request
from services.runner.proofs import Proof, header_value, proof_names, proof_of, unbroken
from services.runner.request import PathBelow, WireRequest, header_name, host_header
from services.runner.sandbox import Text
from services.runner.segments import Blank, Pieces, Segment, blank, settled
from services.runner.templates import LiteralTemplate, RequestTemplate

USER_AGENT = "queryscope"
OWN_HEADERS = frozenset({"content-length", "transfer-encoding"})
_BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})


@dataclass(frozen=True, slots=True)
class Sources:
    """What is known before the load: values for the blanks, and how files are read (ScenarioNotRunnable)."""

    values: Mapping[str, object] = field(default_factory=dict)
    read_file: ReadFile = read_file


class FilledTemplate:
    """A request with blanks. names: of the values that it takes. framed: its length is told even where it is 0."""

    literal: WireRequest | None = None

    def __init__(
        self,
        step: Step,
        head: Sequence[Segment],
        body: Sequence[Segment],
        *,
        method: str,
        llm: AnswerReader | None,
    ) -> None:
        self.step = step.name
        self._head = Pieces(head)
        self._body = Pieces(body)
        self._framed = method in _BODY_METHODS
        self._head_only = method == "HEAD"
        self._llm = llm
        self.names = frozenset(n for each in (*head, *body) if isinstance(each, Blank) for n in each.names)

    def render(self, values: Mapping[str, object]) -> WireRequest:
        """Raises RenderFailed."""
        body = self._body.filled(values)
        frame = b"Content-Length: %d\r\n\r\n" % len(body) if body or self._framed else b"\r\n"
        return WireRequest(self.step, self._head.filled(values) + frame + body, self._head_only, self._llm)


class ConversationTemplate(FilledTemplate):
    """The next turn of an iteration's conversation: all that was said, then the prompt of that turn.

    Which prompts a conversation has depends on the number of its iteration alone.
    """

    def __init__(self, step: Step, head: Sequence[Segment], llm: Llm, reader: LlmReader, asks: Sequence[Ask]) -> None:
        super().__init__(step, head, [], method="POST", llm=reader)
        self._call = llm
        self._reader = reader
        self._asks = asks

    def render(self, values: Mapping[str, object]) -> WireRequest:
        """Raises RenderFailed."""
        talks = values[TALKS]
        assert isinstance(talks, Talks)  # every iteration of such a script has them
        talk = talks.of(self.step)
        ask = self._asks[(talks.number * self._call.turns + talk.turn) % len(self._asks)]
        body = chat_body(self._call, talk.ask(ask.prompt), ask.max_tokens).encode()
        frame = b"Content-Length: %d\r\n\r\n" % len(body)
        reader = AskReader(self._reader, hears=talk.answered)
        return WireRequest(self.step, self._head.filled(values) + frame + body, llm=reader)


def pools_of(scenario: Scenario, sources: Sources | None = None) -> Sequence[Sequence[RequestTemplate]]:
    """What each step sends in turn, in the order of the steps: one request, or one for each prompt.

    Raises ScenarioNotRunnable.
    """
    return [_explained(scenario, step, step.auth or scenario.auth, sources or Sources()) for step in scenario.steps]


def setup_template(scenario: Scenario, step: SetupStep, sources: Sources) -> RequestTemplate:
    """The request of a setup step. The scenario's auth goes with it where the values for it are there already."""
    auth = scenario.auth
    if auth is not None and not proof_names(auth) <= sources.values.keys():
        auth = None
    return _explained(scenario, Step(name=step.name, request=step.request), step.auth or auth, sources)[0]


def wire_pools(scenario: Scenario) -> Sequence[Sequence[WireRequest]]:
    """Those of a scenario in which nothing is to be filled in."""
    return literals_of(pools_of(scenario))


def wire_requests(scenario: Scenario) -> Sequence[WireRequest]:
    """Of each step the first of them."""
    return [requests[0] for requests in wire_pools(scenario)]


def literals_of(pools: Sequence[Sequence[RequestTemplate]]) -> Sequence[Sequence[WireRequest]]:
    """The requests that are ready; of others nothing."""
    return [[each.literal for each in pool if each.literal is not None] for pool in pools]


def _explained(scenario: Scenario, step: Step, auth: Auth | None, sources: Sources) -> Sequence[RequestTemplate]:
    try:
        return _pool(scenario, step, auth, sources)
    except (RenderFailed, ScenarioNotRunnable) as error:
        raise ScenarioNotRunnable(f"step '{step.name}': {error}") from None
    except UnicodeEncodeError:
        raise ScenarioNotRunnable(f"step '{step.name}': half of a surrogate pair is no text") from None


def _pool(scenario: Scenario, step: Step, auth: Auth | None, sources: Sources) -> Sequence[RequestTemplate]:
    if step.llm is not None:
        return _llm_pool(scenario, step, step.llm, auth, sources)
    request, body = step.request, body_of(step.request, sources.read_file)
    proof = proof_of(auth, sources.read_file)
    head = settled(_head(scenario.target, request, body.content_type, proof), sources.values)
    return [_made(step, head, settled(body.segments, sources.values), request.method, None)]


def _llm_pool(
    scenario: Scenario, step: Step, llm: Llm, auth: Auth | None, sources: Sources
) -> Sequence[RequestTemplate]:
    """Of prompts only one that stands alone may be a template."""
    reader, asks = LlmReader(llm, scenario.prices.get(llm.model)), asks_of(llm)
    proof = proof_of(auth, sources.read_file)
    head = settled(_head(scenario.target, llm_request(llm, asks[0]), None, proof), sources.values)
    if llm.turns > 1:
        return [ConversationTemplate(step, head, llm, reader, asks)]
    bodies = [settled(_asked(llm, ask), sources.values) for ask in asks]
    readers = [reader if ask.planned_tokens is None else AskReader(reader, ask.planned_tokens) for ask in asks]
    return [_made(step, head, body, "POST", each) for body, each in zip(bodies, readers, strict=True)]


def _asked(llm: Llm, ask: Ask) -> Sequence[Segment]:
    """The body of a call."""
    if llm.template is None:
        return [(llm_request(llm, ask).body or "").encode()]
    mark = secrets.token_hex(16)
    body = llm_request(llm, ask._replace(prompt=mark)).body or ""
    return json_with_blank(body, mark, llm.template)


def _made(
    step: Step, head: Sequence[Segment], body: Sequence[Segment], method: str, llm: AnswerReader | None
) -> RequestTemplate:
    made = FilledTemplate(step, head, body, method=method, llm=llm)
    return made if made.names else LiteralTemplate(made.render({}))


def _head(target: str, request: Request, content_type: str | None, proof: Proof) -> Sequence[Segment]:
    """The request line and the headers, without the body's length."""
    headers: dict[str, Sequence[Segment]] = {
        "Host": [host_header(target).encode()],
        "User-Agent": [USER_AGENT.encode()],
        "Accept": [b"*/*"],
    }
    if content_type is not None:
        headers["Content-Type"] = [content_type.encode()]
    headers |= proof.headers
    given = {name.lower() for name in request.headers}
    if own := sorted(given & OWN_HEADERS):
        raise ScenarioNotRunnable(f"it sets {own[0]}: leave it out, it follows from the body")
    headers = {name: value for name, value in headers.items() if name.lower() not in given}
    headers |= {name: [blank(Text(value), header_value)] for name, value in request.headers.items()}
    segments: list[Segment] = [f"{request.method} ".encode(), *_target(target, request, proof), b" HTTP/1.1\r\n"]
    for name, value in headers.items():
        segments += [f"{header_name(name)}: ".encode(), *value, b"\r\n"]
    return segments


def _target(target: str, request: Request, proof: Proof) -> Sequence[Segment]:
    """The path with what is put into it encoded as if it had been written there, then the query."""
    below = PathBelow(target)
    own = blank(Text(request.path), lambda text: below.target(unbroken(text)).encode())
    query = [*pairs(request.query, percent)]
    if proof.query:
        query = [*query, *([b"&"] if query else []), *proof.query]
    if not query:
        return [own]
    if isinstance(own, bytes):
        return [own + (b"&" if b"?" in own else b"?"), *query]
    return [Blank(own.names, lambda values: _with_mark(own.fill(values))), *query]


def _with_mark(target: bytes) -> bytes:
    return target + (b"&" if b"?" in target else b"?")

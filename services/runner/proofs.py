"""Owns how a request proves who it comes from: what `auth` adds to its headers and its query. It must not log any."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from schemas.auth import Auth, Basic, Secret, SecretFile
from schemas.template_language import is_template, needs_of
from services.runner.bodies import ReadFile, percent
from services.runner.errors import RenderFailed, ScenarioNotRunnable
from services.runner.sandbox import Text
from services.runner.segments import Blank, Segment, blank


@dataclass(frozen=True, slots=True)
class Proof:
    """headers: by name. query: one name=value, or nothing."""

    headers: Mapping[str, Sequence[Segment]] = field(default_factory=dict)
    query: Sequence[Segment] = ()


def proof_of(auth: Auth | None, read_file: ReadFile) -> Proof:
    """Secrets that stand in files are read now. Raises ScenarioNotRunnable."""
    if auth is None:
        return Proof()
    if auth.basic is not None:
        return Proof({"Authorization": [b"Basic ", _user_and_password(auth.basic, read_file)]})
    if auth.bearer is not None:
        return Proof({"Authorization": [b"Bearer ", blank(_text(auth.bearer, read_file), header_value)]})
    assert auth.api_key is not None  # one of the three is given
    value = _text(auth.api_key.value, read_file)
    if auth.api_key.header is not None:
        return Proof({auth.api_key.header: [blank(value, header_value)]})
    name = percent(auth.api_key.query or "")
    return Proof(query=[f"{name}=".encode(), blank(value, lambda text: percent(text).encode())])


def proof_names(auth: Auth) -> frozenset[str]:
    """The names of the values that it takes."""
    texts = [secret for _, secret in auth.secrets() if isinstance(secret, str) and is_template(secret)]
    return frozenset(name for text in texts for name in needs_of(text).names)


def header_value(text: str) -> bytes:
    """As it goes onto the wire. Raises RenderFailed."""
    return unbroken(text).strip().encode()


def unbroken(text: str) -> str:
    """The same text; a line break that a value brought would begin a header of its own. Raises RenderFailed."""
    if any(each in text for each in "\r\n\0"):
        raise RenderFailed("a line break in a value would end the header or the request line that it is put into")
    return text


def _user_and_password(basic: Basic, read_file: ReadFile) -> Segment:
    user, password = _text(basic.username, read_file), _text(basic.password, read_file)
    first, second = blank(user, str.encode), blank(password, str.encode)
    if isinstance(first, bytes) and isinstance(second, bytes):
        return base64.b64encode(first + b":" + second)
    return Blank(
        user.names | password.names,
        lambda values: base64.b64encode(b"%s:%s" % (user.fill(values).encode(), password.fill(values).encode())),
    )


def _text(secret: Secret, read_file: ReadFile) -> Text:
    if not isinstance(secret, SecretFile):
        return Text(secret)
    try:
        return Text.literal(read_file(secret.file).decode().rstrip("\r\n"))
    except UnicodeDecodeError:
        raise ScenarioNotRunnable(f"the secret in {secret.file} is not UTF-8 text") from None

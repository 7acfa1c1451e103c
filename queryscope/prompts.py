"""Owns how prompts are read from files: a text is one prompt, a .jsonl file one a line. It must not send any."""

import json
from pathlib import Path

from queryscope.errors import ConfigurationError, reason_of
from schemas.template_language import as_it_stands

_FORM = 'write each line as a JSON string or as {"prompt": "..."}'


def read_prompts(said: str, folder: Path = Path()) -> str | list[str]:
    """What a prompt says: itself, or what the file after its @ holds, below `folder`. Raises ConfigurationError."""
    if not said.startswith("@"):
        return said
    path = folder / said[1:]
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the prompt file {path} cannot be read: {reason_of(error)}") from None
    if path.suffix != ".jsonl":
        return as_it_stands(text)
    prompts = [_prompt(line, f"{path}:{number}") for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not prompts:
        raise ConfigurationError(f"{path} has no prompt in it: {_FORM}")
    return prompts


def _prompt(line: str, place: str) -> str:
    try:
        value = json.loads(line)
    except ValueError:
        raise ConfigurationError(f"{place} is not JSON: {_FORM}") from None
    prompt = value.get("prompt") if isinstance(value, dict) else value
    if not isinstance(prompt, str) or not prompt:
        raise ConfigurationError(f"{place} has no prompt: {_FORM}")
    return prompt

"""Owns how the command line's LLM options become a step. It must not know how one is run."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from queryscope.errors import ConfigurationError
from schemas.llm import PATHS

NEEDED = ("model", "prompt")
LLM_OPTIONS = (*NEEDED, "max_tokens", "no_stream", "slo")
NOT_WITH_LLM = ("method", "body")


def llm_step(target: str, options: Mapping[str, object], headers: Mapping[str, str]) -> dict[str, object] | None:
    """The step's `llm` as a scenario writes it; None for a run of plain requests. Raises ConfigurationError.

    A target that names an endpoint itself (.../completions, .../responses) is called as it stands.
    """
    given = [name for name in LLM_OPTIONS if options[name]]
    if not options["llm"]:
        if given:
            raise ConfigurationError(f"--{given[0].replace('_', '-')} belongs to --llm: add it")
        return None
    for name in NOT_WITH_LLM:
        if options[name] is not None:
            raise ConfigurationError(f"--{name} does not go with --llm: the prompt makes the request")
    for name in NEEDED:
        if not options[name]:
            raise ConfigurationError(f"--llm needs --{name}: queryscope run URL --llm --model M --prompt TEXT")
    step = {"model": options["model"], "prompt": options["prompt"], "stream": not options["no_stream"]}
    limits = {"max_tokens": options["max_tokens"], "slo": options["slo"] and limits_of(str(options["slo"]))}
    step |= {name: value for name, value in limits.items() if value is not None}
    path = urlsplit(target).path.rstrip("/")
    endpoint = next((api for api, known in PATHS.items() if path.endswith(known.removeprefix("/v1"))), None)
    if endpoint is not None:
        step |= {"path": "", "api": endpoint}
    elif path.endswith("/v1"):
        step["path"] = "/chat/completions"
    return {**step, "headers": dict(headers)}


def limits_of(text: str) -> dict[str, str]:
    """The limits of an slo as the command line writes them: ttft=500ms,tpot=50ms,e2e=5s."""
    return dict(part.strip().partition("=")[::2] for part in text.split(",") if part.strip())

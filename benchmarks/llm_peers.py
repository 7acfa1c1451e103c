"""Owns how other load generators for language models are started and read, offline.

They count tokens with a tokenizer of their own, which would come from the network: they get one that is made here, in
which each byte is a token. It must not compare them.
"""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.pinned import Peer, pinned


@dataclass(frozen=True, slots=True)
class Streams:
    """What every client is asked for: so many streams at once, so many requests in all, of so many tokens each."""

    url: str
    at_once: int
    requests: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Timed:
    """What a client measured, in ms. gap: of each chunk, or (`per_request`) each request's mean."""

    completed: int
    ttft_p50: float
    ttft_p99: float
    gap_p50: float
    gap_p99: float
    per_request: bool
    cpu_s: float


def guidellm(asked: Streams) -> Timed:
    with tempfile.TemporaryDirectory(prefix="queryscope-benchmark-") as folder:
        report = Path(folder, "report.json")
        backend = f"kind=openai_http,target={asked.url.rstrip('/')},model=small,validate_backend=false"
        words = ["--backend", backend, "--profile", f"kind=concurrent,streams={asked.at_once}"]
        words += ["--constraint", f"kind=max_requests,count={asked.requests}"]
        words += ["--data", f"kind=synthetic_text,prompt_tokens=16,output_tokens={asked.tokens}"]
        words += ["--tokenizer", f"kind=huggingface_auto,model={_tokenizer(folder)}"]
        ended = pinned(["guidellm", "run", *words, "--output", f"kind=json,path={report}", "--disable-console"])
        metrics = _read(report)["benchmarks"][0]["metrics"]
    first = metrics["time_to_first_token_ms"]["successful"]["percentiles"]
    gap = metrics["inter_token_latency_ms"]["successful"]["percentiles"]
    completed = metrics["request_totals"]["successful"]
    return Timed(completed, first["p50"], first["p99"], gap["p50"], gap["p99"], True, ended.cpu_s)


def aiperf(asked: Streams) -> Timed:
    with tempfile.TemporaryDirectory(prefix="queryscope-benchmark-") as folder:
        words = ["--model", "small", "--url", asked.url.rstrip("/"), "--endpoint-type", "chat", "--streaming"]
        words += ["--concurrency", str(asked.at_once), "--request-count", str(asked.requests)]
        words += ["--isl", "16", "--isl-stddev", "0"]
        words += ["--output-tokens-mean", str(asked.tokens), "--output-tokens-stddev", "0"]
        words += ["--tokenizer", _tokenizer(folder), "--use-server-token-count", "--ui", "none"]
        ended = pinned(["aiperf", "profile", *words, "--output-artifact-dir", folder])
        report = _read(Path(folder, "profile_export_aiperf.json"))
    first, gap = report["time_to_first_token"], report["inter_chunk_latency"]
    completed = int(report["request_count"]["avg"])
    return Timed(completed, first["p50"], first["p99"], gap["p50"], gap["p99"], False, ended.cpu_s)


PEERS = {
    "guidellm": Peer("guidellm", "pip install guidellm", guidellm),
    "aiperf": Peer("aiperf", "pip install aiperf", aiperf),
}


def _read(report: Path) -> dict[str, Any]:  # Any: the peer's JSON
    found: dict[str, Any] = json.loads(report.read_text())
    return found


def _tokenizer(folder: str) -> str:
    """A folder with a tokenizer of Hugging Face's format whose tokens are the 256 bytes."""
    place = Path(folder, "tokenizer")
    place.mkdir()
    # That format writes a byte as a letter: itself where it is printable, else one from 256 on.
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    rest = iter(range(256, 512))
    letters = [chr(byte if byte in plain else next(rest)) for byte in range(256)]
    split = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = {"type": "BPE", "vocab": {letter: number for number, letter in enumerate(letters)}, "merges": []}
    whole = {"version": "1.0", "added_tokens": [], "pre_tokenizer": split, "decoder": split, "model": model}
    (place / "tokenizer.json").write_text(json.dumps(whole))
    (place / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    return str(place)

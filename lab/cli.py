"""Owns the command line `python -m lab`, and how the process ends with its parent.

Must not know how a target or a proxy serves.
"""

import argparse
import asyncio
import ctypes
import gc
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence

from lab import faults
from lab.errors import LabError
from lab.llm_server import serve_llm
from lab.llm_settings import LlmSettings
from lab.misbehaving import MisbehavingSettings, serve_misbehaving
from lab.misconduct import KINDS
from lab.net_faults import NET_KINDS
from lab.proxy import ProxySettings, serve_proxy
from lab.service import Addresses, serve
from lab.settings import TargetSettings

Settings = TargetSettings | LlmSettings | ProxySettings | MisbehavingSettings

_PR_SET_PDEATHSIG = 1


def main(arguments: Sequence[str] | None = None, epilog: str = "") -> int:
    """Exit status 0 after SIGTERM, SIGINT or the end of stdin; 1 if it cannot listen; 2 for a wrong argument."""
    parser = _parser(epilog)
    options = parser.parse_args(arguments)
    try:
        settings = _settings(options)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 2
    if options.stdin_eof:
        _die_with_parent()
    try:
        _run(settings, stdin_eof=options.stdin_eof)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


def _parser(epilog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lab", description="Targets with programmable faults.", epilog=epilog
    )
    kinds = parser.add_subparsers(dest="target", required=True)
    _add_llm(kinds.add_parser("llm", help="an OpenAI-compatible streaming target"))
    _add_proxy(kinds.add_parser("proxy", help="a TCP proxy whose network fails on command"))
    _add_misbehave(kinds.add_parser("misbehave", help="a target that breaks the rules of HTTP/1.1"))
    _add_http(kinds.add_parser("http", help="an HTTP/1.1 target"))
    return parser


def _add_http(http: argparse.ArgumentParser) -> None:
    healthy = TargetSettings()
    http.add_argument("--host", default=healthy.host)
    http.add_argument("--port", type=int, default=healthy.port, help="0 (default): any free one")
    http.add_argument("--control-port", type=int, default=healthy.control_port, help="takes commands even when dead")
    http.add_argument("--base-ms", type=float, default=healthy.base_ms, help="mean service time; 0: answer at once")
    http.add_argument("--jitter", type=float, default=healthy.jitter, help="sigma of the lognormal service time")
    http.add_argument("--replicas", type=int, default=healthy.replicas, help="virtual servers behind the address")
    http.add_argument("--seed", type=int, default=healthy.seed)
    http.add_argument("--body-bytes", type=int, default=healthy.body_bytes)
    http.add_argument("--tls-cert", help="certificate chain (PEM); with --tls-key, serves https")
    http.add_argument("--tls-key", help="private key (PEM)")
    http.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="KIND:key=value,...",
        help=f"start_s counts from the first request; kinds: {', '.join(faults.KINDS)}",
    )
    http.add_argument("--stdin-eof", action="store_true", help="end when stdin ends or the parent dies")


def _add_proxy(proxy: argparse.ArgumentParser) -> None:
    proxy.description = (
        "Forwards to a port of this machine. Faults are switched at the control address that it prints: "
        f'POST /_lab/fault {{"kind": ...}}, DELETE /_lab/fault. Kinds: {", ".join(NET_KINDS)}.'
    )
    proxy.add_argument("--upstream-port", type=int, required=True, help="where to forward to, on 127.0.0.1")
    proxy.add_argument("--port", type=int, default=0, help="0 (default): any free one")
    proxy.add_argument("--control-port", type=int, default=0, help="takes commands even while the network is cut")
    proxy.add_argument("--stdin-eof", action="store_true", help="end when stdin ends or the parent dies")


def _add_misbehave(misbehave: argparse.ArgumentParser) -> None:
    misbehave.description = f"Answers GET /KIND in the way of that kind, GET / as told. Kinds: {', '.join(KINDS)}."
    misbehave.add_argument("kind", nargs="?", default="answer", metavar="KIND", help="for the path / (answer)")
    misbehave.add_argument("--port", type=int, default=0, help="0 (default): any free one")
    misbehave.add_argument("--stdin-eof", action="store_true", help="end when stdin ends or the parent dies")


def _add_llm(llm: argparse.ArgumentParser) -> None:
    plain = LlmSettings()
    llm.add_argument("--host", default=plain.host)
    llm.add_argument("--port", type=int, default=plain.port, help="0 (default): any free one")
    llm.add_argument("--ttft-ms", type=float, default=plain.ttft_ms, help="from the request to the first token")
    llm.add_argument("--gap-ms", type=float, default=plain.gap_ms, help="from one token to the next")
    llm.add_argument("--tokens", type=int, default=plain.tokens, help="of an answer; 0 (default): its max_tokens")
    llm.add_argument("--reasoning-tokens", type=int, default=plain.reasoning_tokens, help="the first so many of them")
    llm.add_argument("--cached-tokens", type=int, default=plain.cached_tokens, help="of the prompt, in the usage")
    llm.add_argument("--slots", type=int, default=plain.slots, help="answers made at once, others wait; 0: any number")
    llm.add_argument("--stdin-eof", action="store_true", help="end when stdin ends or the parent dies")


def _settings(options: argparse.Namespace) -> Settings:
    if options.target == "proxy":
        return ProxySettings(options.upstream_port, options.port, options.control_port)
    if options.target == "misbehave":
        return MisbehavingSettings(options.kind, options.port)
    if options.target == "llm":
        return LlmSettings(**{name: getattr(options, name) for name in LlmSettings.__slots__})
    return _target_settings(options)


def _target_settings(options: argparse.Namespace) -> TargetSettings:
    return TargetSettings(
        host=options.host,
        port=options.port,
        control_port=options.control_port,
        base_ms=options.base_ms,
        jitter=options.jitter,
        replicas=options.replicas,
        seed=options.seed,
        body_bytes=options.body_bytes,
        tls_cert=options.tls_cert,
        tls_key=options.tls_key,
        faults=tuple(faults.parse(text) for text in options.fault),
    )


def _run(settings: Settings, *, stdin_eof: bool) -> None:
    async def until_told_to_stop() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        if stdin_eof:
            threading.Thread(target=_await_eof, args=(loop, stop), daemon=True).start()
        # A collection that walks all modules would show up as a pause nobody injected.
        gc.collect()
        gc.freeze()
        if isinstance(settings, ProxySettings):
            await serve_proxy(settings, _announce, stop)
        elif isinstance(settings, MisbehavingSettings):
            await serve_misbehaving(settings, _announce, stop)
        elif isinstance(settings, LlmSettings):
            await serve_llm(settings, lambda url: _announce(Addresses(url, url)), stop)
        else:
            await serve(settings, _announce, stop)

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(until_told_to_stop())


def _announce(addresses: Addresses) -> None:
    print(json.dumps({**addresses._asdict(), "pid": os.getpid()}), flush=True)


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop


def _await_eof(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    # A thread, since the event loop cannot watch every kind of stdin (files, /dev/null).
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        pass
    loop.call_soon_threadsafe(stop.set)


def _die_with_parent() -> None:
    """Linux: SIGTERM when the thread that started us ends, should a third process keep our stdin open."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    except (AttributeError, OSError):
        return

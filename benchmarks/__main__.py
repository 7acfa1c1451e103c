"""Runs all benchmarks, or those named: `python -m benchmarks [NAME ...]`. It must not hold one."""

import importlib
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

NAMES = (
    "accuracy", "broker_outage", "conservation", "engine", "llm", "log_backends", "pipeline", "start_up", "undecodable",
)  # fmt: skip


def main(names: list[str]) -> int:
    """Prints the machine, then each benchmark's table; 1 when one found a wrong number, 2 for an unknown name."""
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        print(f"no benchmark '{unknown[0]}': known are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    print(f"{datetime.now(UTC):%Y-%m-%d}, {machine()}\n")
    codes = [importlib.import_module(f"benchmarks.{name}").main() for name in names or NAMES]
    return max(codes, default=0)


def machine() -> str:
    """Processor, cores, memory, kernel and Python, in one line."""
    cpu = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = next((int(line.split()[1]) >> 20 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    cores = sum(1 for line in _lines("/proc/cpuinfo") if line.startswith("processor"))
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    return f"{cpu}, {cores} cores, {memory} GiB, {system}"


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

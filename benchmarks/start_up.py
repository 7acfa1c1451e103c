"""How long the command line takes to say what it can do: the median of several starts."""

import statistics
import subprocess
import sys
import time

STARTS = 11


def main() -> int:
    """Prints one row for each command line."""
    print(f"{'command':<28} {'median ms':>10}   of {STARTS} starts")
    for arguments in (["-c", "pass"], ["-m", "queryscope", "--help"], ["-m", "queryscope", "run", "--help"]):
        times = []
        for _ in range(STARTS):
            began = time.perf_counter()
            subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
            times.append(time.perf_counter() - began)
        print(f"{'python ' + ' '.join(arguments):<28} {statistics.median(times) * 1000:>10.0f}")
    print()
    return 0

"""Owns `make chaos`: many rounds, one after another, resumed where they were left. It must not judge one.

    python -m tests.chaos [--kills 100] [--rounds 2] [--seed 1] [--kinds runner,broker] [--report]

What is done stands in artifacts/chaos/rounds.ndjson: a second call goes on from there. Another seed is another series.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from backbone.telemetry import configure_logging
from tests.chaos.kinds import KINDS, LONG_ROUNDS, SITES
from tests.chaos.ledger import Ledger, table
from tests.chaos.rounds import Round, play
from tests.chaos.sites import Site, SiteBroken
from tests.stack.daemon import NotStarted
from tests.stack.fetching import NotFetched

FOLDER = Path(__file__).resolve().parents[2] / "artifacts" / "chaos"


def main(words: list[str] | None = None) -> int:
    """0 when every round so far was right, 1 when one was not, 2 where none could be played."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="kill -9 at random instants of runs")
    parser.add_argument("--kills", type=int, default=100, help="rounds in all of what kills, shared alike (100)")
    parser.add_argument("--rounds", type=int, default=LONG_ROUNDS, help=f"of each kind that lasts ({LONG_ROUNDS})")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"of {', '.join(KINDS)}")
    parser.add_argument("--report", action="store_true", help="only the table of what is done")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where what is done is kept")
    given = parser.parse_args(words)
    kinds = given.kinds.split(",")
    if unknown := set(kinds) - set(KINDS):
        print(f"no kind '{unknown.pop()}': known are {', '.join(KINDS)}", file=sys.stderr)
        return 2
    configure_logging(json=False, level="error")
    ledger = Ledger(given.folder / "rounds.ndjson")
    if not given.report:
        due = list(_due(ledger, kinds, given.kills, given.rounds, given.seed))
        try:
            asyncio.run(_play_all(ledger, due, given.folder))
        except KeyboardInterrupt:
            pass
        except (SiteBroken, NotStarted, NotFetched) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    print(table(ledger.rounds))
    return 1 if any(each.faults for each in ledger.rounds) else 0


def _due(ledger: Ledger, kinds: list[str], kills: int, lasting: int, seed: int) -> Iterator[tuple[str, int, int]]:
    """What has not been played, kills by turns, so that an interrupted series has some of each."""
    kinds_of_kills = [kind for kind in kinds if not KINDS[kind].lasts]
    rounds = (
        [(kinds_of_kills[index % len(kinds_of_kills)], index // len(kinds_of_kills)) for index in range(kills)]
        if kinds_of_kills
        else []
    )
    rounds += [(kind, number) for kind in kinds if KINDS[kind].lasts for number in range(lasting)]
    for kind, number in rounds:
        if not ledger.has(kind, number, seed):
            yield kind, number, seed


async def _play_all(ledger: Ledger, due: list[tuple[str, int, int]], folder: Path) -> None:
    for name in SITES:
        rounds = [each for each in due if KINDS[each[0]].site == name]
        while rounds:
            with tempfile.TemporaryDirectory(prefix="queryscope-chaos-", ignore_cleanup_errors=True) as place:
                async with SITES[name](Path(place)) as site:
                    rounds = await _play(site, rounds, ledger, folder, Path(place))


async def _play(
    site: Site, due: list[tuple[str, int, int]], ledger: Ledger, folder: Path, place: Path
) -> list[tuple[str, int, int]]:
    """Plays until all are done, or the site has to be made anew; returns what is left."""
    for index, (kind, number, seed) in enumerate(due, 1):
        try:
            round_ = await play(site, kind, KINDS[kind], number, seed)
        except SiteBroken as error:
            round_ = Round(kind, number, seed, faults=[str(error)])
        ledger.add(round_)
        words = "; ".join(round_.faults) or "right"
        print(f"{kind} {number}: {round_.events} events, {round_.verdict or 'none'}, {round_.took_s} s: {words}")
        sys.stdout.flush()
        if round_.faults:  # the next one starts from a clean site; what this one left is kept to look at
            kept = folder / f"{kind}-{number}-seed-{seed}"
            kept.mkdir(parents=True, exist_ok=True)
            for log in place.glob("*.log"):
                shutil.copy(log, kept)
            return due[index:]
    return []


if __name__ == "__main__":
    sys.exit(main())

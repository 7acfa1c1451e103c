"""Owns how a command runs without the second that importing the product takes: in a fork of a process that has done so.

It is a process of its own all the same, with the environment, the output and the exit code of one. It must not know
what is tested.
"""

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from queryscope.cli import COMMANDS, main

IMPORTED = (
    *sorted({place.partition(":")[0] for place, _ in COMMANDS.values()}),
    "backbone.database.sqlite",
    "backbone.doctor",
    "backbone.search.embedded",
    "queryscope.composition",
    "queryscope.sessions",
    __name__,
)


def run_forked(words: Sequence[str], environment: Mapping[str, str], out: Path, err: Path, timeout_s: float) -> int:
    """The exit code of `queryscope WORDS`, whose output is in the files. Raises TimeoutError; it is ended then."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTED))
    process = context.Process(target=_play, args=(list(words), dict(environment), str(out), str(err)))
    process.start()
    process.join(timeout_s)
    code = process.exitcode
    if code is None:
        process.kill()
        process.join()
    process.close()
    if code is None:
        raise TimeoutError(f"queryscope {' '.join(words)} did not end in {timeout_s} s")
    return code


def _play(words: list[str], environment: dict[str, str], out: str, err: str) -> NoReturn:
    for descriptor, path in ((1, out), (2, err)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, descriptor)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["queryscope", *words]
    main()

"""``python3 -m tests.benchmarks.peers``: count our kernels and those of peers for the same calls, without a GPU."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from pathlib import Path

RESULTS = Path(__file__).parents[1] / "results"


def main() -> int:
    """Count, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", choices=("sm_80", "sm_90"), default="sm_90")
    parser.add_argument("--only", default="", help="only works whose title has this text; then nothing is written")
    parser.add_argument("--into", type=Path, default=None, help=f"folder of the table; {RESULTS} by default")
    given = parser.parse_args()
    os.environ.pop("TRITON_INTERPRET", None)
    warnings.filterwarnings("ignore")  # FlagGems replaces operators of the CPU, and PyTorch warns of each

    from tests.benchmarks.peers.compare import Entry, compared, works
    from tests.benchmarks.peers.libraries import peers
    from tests.benchmarks.peers.report import lines, write

    others, missing = peers(given.target)
    for name in missing:
        print(f"{name} is not installed: `pip install --no-deps {name.replace('_', '-')}` in an environment of its own")
    entries: list[Entry] = []
    paths: list[Path] = []
    for work in works(given.only):
        for entry in compared(work, given.target, others):
            entries.append(entry)
            print(entry.title, entry.direction, entry.road, entry.figures or entry.failed, entry.wrong, flush=True)
        if given.into or not given.only:  # after each work, so that a run that is killed loses none
            paths = write(entries, given.target, missing, given.into or RESULTS)
    if not entries:
        print(f"--only {given.only!r}: no work has this in its title; leave it out to see all", file=sys.stderr)
        return 2
    print("\n".join(lines(entries)))
    for path in paths:
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())

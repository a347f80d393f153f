"""``make bench``: ``svertka bench``, also where svertka is not installed."""

from __future__ import annotations

import sys

from tests.benchmarks.worker import make_importable

if __name__ == "__main__":
    make_importable()
    from svertka.codegen.command import main

    sys.argv = ["svertka", "bench", *sys.argv[1:]]
    main()

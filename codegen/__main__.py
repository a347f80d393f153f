"""``python -m svertka.codegen``: the same as ``svertka``."""

from svertka.codegen.command import main

main()

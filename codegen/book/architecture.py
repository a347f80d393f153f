"""The networks of the generated layers: drawn, and described layer by layer.

Input: ``NETWORKS``, and the lecture's photograph. Output: one ``Architecture`` per network.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cache

from svertka.spec.slides import IMAGE_SIZE

__all__ = ["COLUMNS", "Architecture", "architectures"]

COLUMNS = ("layer", "module", "output", "parameters", "multiply-adds", "receptive field")


@dataclass(frozen=True)
class Architecture:
    """A network on a page.

    Attributes:
        name: as on the command line.
        title: the network's class.
        drawing: SVG.
        rows: the cells of each layer, one per column of ``COLUMNS``.
        total: the cells of the whole network.
    """

    name: str
    title: str
    drawing: str
    rows: tuple[tuple[str, ...], ...]
    total: tuple[str, ...]


@cache
def architectures() -> tuple[Architecture, ...]:
    """Every network, described by a run without data on one photograph of the lecture's size."""
    import torch

    from svertka.networks import NETWORKS
    from svertka.networks.drawing import draw
    from svertka.networks.summary import row_of, summarize

    found = []
    for name, constructor in NETWORKS.items():
        with torch.device("meta"):
            network = constructor()
        channels = inspect.signature(constructor).parameters["channels"].default
        summary = summarize(network, (1, channels, *IMAGE_SIZE))
        rows = tuple(row_of(layer, "×") for layer in summary.layers)
        total = ("all", "", "", f"{summary.parameters:,}", f"{summary.multiply_adds:,}", "")
        found.append(Architecture(name, summary.name, draw(summary), rows, total))
    return tuple(found)

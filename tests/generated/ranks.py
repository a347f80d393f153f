"""One process of a ``DistributedDataParallel`` training: ``python -m tests.generated.ranks RANK FOLDER ROAD...``.

Each of two processes takes its half of a batch and writes its final state, path by path, to the folder.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from svertka.generated import runtime

from .network import CHANNELS, Network, exact_network, loss_of, whole_numbers

__all__ = ["RANKS", "exact_batch", "exact_loss", "trained"]

RANKS = 2
STEPS = 3


def exact_batch(ranks: range) -> Tensor:
    """The images of some of the processes, whole numbers; three per process."""
    every = whole_numbers(3 * RANKS, CHANNELS, 8, 6)
    return every[3 * ranks.start : 3 * ranks.stop]


def exact_loss(network: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """A loss that sums over examples."""
    return network(batch).square().sum()


def trained(rank: int, device: str) -> dict[str, Any]:
    """Gradients of the exact network; the state of the other one after some steps on this process's own data."""
    exact = DistributedDataParallel(exact_network().to(device))
    exact_loss(exact, exact_batch(range(rank, rank + 1)).to(device)).backward()
    torch.manual_seed(rank)  # processes begin with different parameters
    network = DistributedDataParallel(Network().to(device))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    own = []
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of(network, device, count=2 + rank + 2 * step)
        loss.backward()
        optimizer.step()
        own.append(loss.detach())
    return {"exact": _gradients(exact.module), "state": network.module.state_dict(), "losses": own}


def _gradients(network: nn.Module) -> dict[str, Tensor | None]:
    return {name: parameter.grad for name, parameter in network.named_parameters()}


def main(rank: int, folder: Path, roads: list[str]) -> None:
    """Join the other process, train, write the results."""
    torch.set_num_threads(1)
    meeting = f"file://{folder / 'meeting'}"  # a file, because the port of a server may be in use
    distributed.init_process_group("gloo", meeting, timedelta(seconds=90), RANKS, rank)
    found = {}
    for road in roads:
        runtime.INTERPRETED = road == "interpreter"
        found[road] = trained(rank, "cuda" if road == "device" else "cpu")
    torch.save(found, folder / f"{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])

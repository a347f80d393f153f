"""``DistributedDataParallel`` with two processes over gloo."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from .agreement import equal
from .conftest import ROADS
from .network import Network, exact_network
from .ranks import RANKS, exact_batch, exact_loss

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 120


@pytest.mark.slow
def test_two_processes_train_one_network(tmp_path: Path) -> None:
    """Averaged gradients are those of the whole batch, exactly on whole numbers; both end with the same state."""
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo"}  # the processes are on one machine
    command = [sys.executable, "-m", "tests.generated.ranks"]
    processes = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path), *ROADS], cwd=ROOT, env=environment, stderr=subprocess.PIPE
        )
        for rank in range(RANKS)
    ]
    try:
        for process in processes:
            _, complaint = process.communicate(timeout=SECONDS)
            assert process.returncode == 0, complaint.decode()
    finally:
        for process in processes:
            process.kill()
    every = [torch.load(tmp_path / f"{rank}.pt", map_location="cpu", weights_only=True) for rank in range(RANKS)]

    whole = exact_network()
    exact_loss(whole, exact_batch(range(RANKS))).backward()
    for road in ROADS:
        found = [of_roads[road] for of_roads in every]
        for name, parameter in whole.named_parameters():
            assert parameter.grad is not None
            assert int((parameter.grad != 0).sum()) > 0
            for rank in range(RANKS):
                equal(RANKS * found[rank]["exact"][name], parameter.grad)
        assert found[0]["losses"] != found[1]["losses"]  # each had its own data
        for name, _ in Network().named_parameters():
            equal(found[0]["state"][name], found[1]["state"][name])

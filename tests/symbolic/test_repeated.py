"""A launch that is repeated stores again what it stored; whatever it can tell apart is another launch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from svertka.codegen.verify.symbolic.memory import Memory


class Launches:
    """Launches of a kernel that stores each node plus one, and how often its programs ran."""

    def __init__(self) -> None:
        self.memory, self.ran = Memory(), 0

    def given(self, *nodes: int) -> torch.Tensor:
        tensor = torch.zeros(len(nodes))
        self.memory.give(tensor, nodes, "x")
        return tensor

    def launch(
        self, source: torch.Tensor, what: int = 0, faulty: bool = False, into: torch.Tensor | None = None
    ) -> list[int]:
        made = torch.zeros_like(source) if into is None else into
        self.memory.begin("kernel", [source, made])

        def run() -> None:
            self.ran += 1
            found = self.memory.load(self._addresses(source), np.array(True), None, True, None)
            self.memory.store(self._addresses(made), found + 1, np.array(True))
            if faulty:
                self.memory.fail("wrong")

        self.memory.once((what,), [source, made], run)
        self.memory.end()
        return self.memory.nodes_of(made)

    def _addresses(self, tensor: torch.Tensor) -> np.ndarray:
        base = self.memory.pointer("x_ptr", tensor).handle.data[0]
        return base + np.arange(tensor.numel(), dtype=np.uint64) * np.uint64(tensor.itemsize)


@pytest.fixture
def launches() -> Launches:
    return Launches()


def test_a_repeated_launch_is_not_run_again(launches: Launches) -> None:
    source = launches.given(5, 7, 9)
    assert launches.launch(source) == launches.launch(source) == [6, 8, 10]
    assert launches.ran == 1
    launches.memory.check_stores()
    assert launches.memory.failures == []


def test_equal_contents_in_another_tensor_are_repeated(launches: Launches) -> None:
    """A forward that runs twice gives the backward two tensors with the same nodes."""
    source = launches.given(5, 7, 9)
    first, second = torch.zeros(3), torch.zeros(3)
    for made in (first, second):
        launches.launch(source, into=made)
    assert launches.launch(first) == launches.launch(second) == [7, 9, 11]
    assert launches.ran == 2


@pytest.mark.parametrize("what", ["another kernel", "other nodes", "another input", "a store before", "a failure"])
def test_what_differs_is_run(what: str, launches: Launches) -> None:
    source, made = launches.given(5, 7, 9), torch.zeros(3)
    launches.launch(source, faulty=what == "a failure", into=made)
    if what == "other nodes":
        source = launches.given(5, 7, 8)
    elif what == "another input":
        source = launches.given(5, 7, 9)
    launches.launch(source, int(what == "another kernel"), into=made if what == "a store before" else None)
    assert launches.ran == 2
    launches.memory.check_stores()
    assert bool(launches.memory.failures) == (what in ("a store before", "a failure"))

"""A network of the modules copied, pickled, saved and loaded; its state moved between torch's modules and these."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from .agreement import equal
from .network import THEIRS, Network, same_gradients, same_state, seeded, trained


def saved_and_loaded(value: Any, weights_only: bool) -> Any:
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, weights_only=weights_only)


COPIES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda network: pickle.loads(pickle.dumps(network)),  # type: ignore[no-any-return]
    "save": lambda network: saved_and_loaded(network, weights_only=False),  # type: ignore[no-any-return]
}


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_goes_on_as_the_original(how: str, place: str) -> None:
    """After a first step, so that its state is not that of the constructor; and it shares no memory."""
    network = seeded(place)
    trained(network, place)
    network.zero_grad()
    twin = COPIES[how](network)
    same_state(twin, network)
    equal(trained(twin, place), trained(network, place).cpu())
    same_gradients(twin, network)
    before = copy.deepcopy(network.state_dict())
    with torch.no_grad():
        for tensor in twin.state_dict().values():
            tensor.add_(1)
    for name, tensor in network.state_dict().items():
        equal(tensor, before[name].cpu())


@pytest.mark.parametrize("ours_first", [True, False], ids=["ours-theirs", "theirs-ours"])
def test_a_state_moves_between_torch_and_here(ours_first: bool, place: str) -> None:
    """With strict loading, through a file without code, in both directions."""
    ours, theirs = seeded(place), Network(THEIRS).to(place)
    source, target = (ours, theirs) if ours_first else (theirs, ours)
    trained(source, place)
    state = saved_and_loaded(source.state_dict(), weights_only=True)
    assert any(not torch.equal(state[name], tensor) for name, tensor in target.state_dict().items())
    assert not any(target.load_state_dict(state, strict=True))
    same_state(source, target)


def test_a_state_s_faults_are_named() -> None:
    state = Network().state_dict()
    state["second.scale"] = state.pop("second.bias")
    with pytest.raises(RuntimeError, match=r'Missing key.*"second\.bias"(.|\n)*Unexpected key.*"second\.scale"'):
        Network().load_state_dict(state)

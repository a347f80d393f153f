"""The same networks assembled from the reference: NumPy only, every layer a function of ``svertka.reference``.

Nothing is shared with the modules except the names in a ``state_dict``: strides, paddings and windows are written here
again, so that a network and its assembly check one another. Functions of the reference compute in float64 and round to
the type of their input: images in float64 are not rounded between layers, images in float32 are rounded after every
layer, as by the modules on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

from svertka import reference
from svertka.reference.arrays import Array

__all__ = ["ASSEMBLED", "State", "alexnet", "arrays_of", "lenet"]

State = Mapping[str, Array]


def arrays_of(state: Mapping[str, torch.Tensor]) -> dict[str, Array]:
    """A ``state_dict`` as arrays; bfloat16, which NumPy lacks, as float64."""
    kept = {name: tensor.detach().cpu() for name, tensor in state.items()}
    return {name: (t.double() if t.dtype == torch.bfloat16 else t).numpy() for name, t in kept.items()}


def lenet(images: Array, state: State) -> Array:
    """LeNet-5's scores.

    Args:
        images: (N, channels, H, W).
        state: of ``LeNet5``, see ``arrays_of``.

    Returns:
        (N, classes), of the type of ``images``.
    """
    maps = _input(images, state, 32)
    for name in ("conv1", "conv2"):
        maps = np.asarray(reference.max_pool2d(reference.relu(_convolution(maps, state, name)), 2))
    maps = reference.relu(_convolution(maps, state, "conv3"))
    units = reference.relu(_full(maps.reshape(len(maps), -1), state, "full1"))
    return _full(units, state, "full2")


def alexnet(images: Array, state: State) -> Array:
    """AlexNet's scores, without dropout, with or without groups as the weights' shapes say.

    Args:
        images: (N, channels, H, W).
        state: of ``AlexNet``, see ``arrays_of``.

    Returns:
        (N, classes), of the type of ``images``.
    """
    maps = _input(images, state, 224)
    maps = reference.relu(_convolution(maps, state, "conv1", stride=4, padding=2))
    maps = _overlapping(_normalised(maps))
    maps = reference.relu(_convolution(maps, state, "conv2", padding=2))
    maps = _overlapping(_normalised(maps))
    for name in ("conv3", "conv4", "conv5"):
        maps = reference.relu(_convolution(maps, state, name, padding=1))
    units = _overlapping(maps).reshape(len(maps), -1)
    for name in ("full1", "full2"):
        units = reference.relu(_full(units, state, name))
    return _full(units, state, "full3")


ASSEMBLED: Mapping[str, Callable[[Array, State], Array]] = {"alexnet": alexnet, "lenet": lenet}
"""Assemblies by the names of ``NETWORKS``."""


def _input(images: Array, state: State, size: int) -> Array:
    return reference.image_input(images, state.get("input.mean"), state.get("input.std"), size)


def _convolution(maps: Array, state: State, name: str, stride: int = 1, padding: int = 0) -> Array:
    """A convolution with the number of groups that follows from its weight."""
    weight, bias = state[f"features.{name}.weight"], state[f"features.{name}.bias"]
    groups = maps.shape[1] // weight.shape[1]
    return reference.conv2d(maps, weight, bias, stride, padding, groups=groups)


def _normalised(maps: Array) -> Array:
    """The paper's normalization over five channels; its 1e-4 is not divided by the window."""
    return reference.cross_channel_norm(maps, 5, k=2.0, alpha=5e-4, beta=0.75)


def _overlapping(maps: Array) -> Array:
    return np.asarray(reference.max_pool2d(maps, 3, stride=2))


def _full(units: Array, state: State, name: str) -> Array:
    return reference.linear(units, state[f"classifier.{name}.weight"], state[f"classifier.{name}.bias"])

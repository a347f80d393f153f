"""The networks, how they are built, and their inputs. Weights are random: nothing is downloaded.

Images are as small as a network allows, and not square if it allows that. ImageNet networks end in a pooling of 7 x 7,
which fixes their size.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["NETWORKS", "Network", "named"]

CLASSES = 5


@dataclass(frozen=True)
class Network:
    """A published architecture.

    Attributes:
        name: its name in its package.
        package: the package that defines it.
        make: builds it.
        shape: of its input.
        large: whether it is run only once, in evaluation.
    """

    name: str
    package: str
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    large: bool = False

    def built(self, seed: int = 0) -> nn.Module:
        """The network in float64; normalizations have running estimates and weights like those of trained networks."""
        torch.manual_seed(seed)
        network = self.make().double()
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_var is not None:
                assert module.running_mean is not None
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                if module.affine:
                    nn.init.uniform_(module.weight, 0.5, 1.5)
                    nn.init.normal_(module.bias, 0, 0.1)
        return network

    def images(self, seed: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
        """An input."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(self.shape, generator=generator, dtype=torch.float64).to(dtype)


def _classifier(file: str, name: str, size: int = 224, batch: int = 2, large: bool = False) -> Network:
    """A classifier of pytorchcv for images like ImageNet's."""

    def make() -> nn.Module:
        made: nn.Module = _function(file, name)(in_size=(size, size), num_classes=CLASSES)
        return made

    return Network(name, "pytorchcv", make, (batch, 3, size, size), large)


def _small_images(file: str, name: str) -> Network:
    """A classifier of pytorchcv for CIFAR's images of 32 x 32."""

    def make() -> nn.Module:
        made: nn.Module = _function(file, name)()
        return made

    return Network(name, "pytorchcv", make, (2, 3, 32, 32))


def _segmenting(file: str, name: str, height: int, width: int) -> Network:
    """A segmentation network of pytorchcv."""

    def make() -> nn.Module:
        made: nn.Module = _function(file, name)(in_size=(height, width), num_classes=CLASSES)
        return made

    return Network(name, "pytorchcv", make, (2, 3, height, width))


def _function(file: str, name: str) -> Any:
    return getattr(importlib.import_module(f"pytorchcv.models.{file}"), name)


def _monai(name: str, shape: tuple[int, ...], *arguments: Any, label: str = "", **options: Any) -> Network:
    """A network of monai's."""

    def make() -> nn.Module:
        made: nn.Module = getattr(importlib.import_module("monai.networks.nets"), name)(*arguments, **options)
        return made

    return Network(label or name, "monai", make, shape)


_IMAGE = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2}
_LADDER: dict[str, Any] = {"channels": (4, 8, 16), "strides": (2, 2)}
_PLAIN = {"act": "RELU", "norm": "BATCH"}

NETWORKS = (
    _monai("UNet", (2, 1, 24, 32), **_IMAGE, **_LADDER, num_res_units=2),
    _monai("UNet", (2, 1, 16, 20, 24), 3, 1, 2, **_LADDER, num_res_units=1, **_PLAIN, label="UNet in 3-D"),
    _monai("BasicUNet", (2, 1, 32, 48), **_IMAGE, features=(4, 4, 8, 8, 16, 4)),
    _monai("DenseNet", (2, 1, 32, 40), 2, 1, 3, init_features=8, growth_rate=4, block_config=(2, 2, 2)),
    _monai(
        "ResNet", (2, 1, 16, 24, 32), "basic", [1, 1, 1, 1], [4, 8, 8, 16], spatial_dims=3, n_input_channels=1,
        num_classes=3, label="ResNet in 3-D",
    ),
    _monai("SegResNet", (2, 1, 16, 24), 2, 8, 1, 2, blocks_down=(1, 2), blocks_up=(1,), norm="BATCH"),
    _monai("HighResNet", (2, 1, 16, 24), **_IMAGE),
    _monai("AttentionUnet", (2, 1, 16, 24), **_IMAGE, **_LADDER),
    _monai("AutoEncoder", (2, 1, 16, 24), 2, 1, 2, (4, 8), (2, 2), **_PLAIN),
    _monai("Classifier", (2, 1, 16, 24), (1, 16, 24), 3, (4, 8), (2, 2), **_PLAIN),
    _monai("LocalNet", (2, 1, 16, 24), 2, 1, 4, [0, 1, 2], out_channels=2),
    _monai("RegUNet", (2, 1, 16, 24), 2, 1, 4, 2, out_channels=2),
    _small_images("nin_cifar", "nin_cifar10"),
    _small_images("resnet_cifar", "resnet20_cifar10"),
    _small_images("preresnet_cifar", "preresnet20_cifar10"),
    _small_images("seresnet_cifar", "seresnet20_cifar10"),
    _small_images("densenet_cifar", "densenet40_k12_cifar10"),
    _small_images("xdensenet_cifar", "xdensenet40_2_k24_bc_cifar10"),
    _small_images("diaresnet_cifar", "diaresnet20_cifar10"),
    _small_images("rir_cifar", "rir_cifar10"),
    _segmenting("unet", "unet_cityscapes", 32, 48),
    _segmenting("enet", "enet_cityscapes", 32, 64),
    _segmenting("erfnet", "erfnet_cityscapes", 32, 64),
    _segmenting("sqnet", "sqnet_cityscapes", 32, 64),
    _classifier("alexnet", "alexnet", batch=1, large=True),
    _classifier("resnet", "resnet18_wd4"),
    _classifier("squeezenet", "squeezenet_v1_1"),
    _classifier("mobilenet", "mobilenet_wd4"),
    _classifier("fdmobilenet", "fdmobilenet_wd4"),
    _classifier("mobilenetv2", "mobilenetv2_wd4"),
    _classifier("mobilenetv3", "mobilenetv3_small_wd2"),
    _classifier("shufflenet", "shufflenet_g1_wd4"),
    _classifier("shufflenetv2", "shufflenetv2_wd2"),
    _classifier("menet", "menet108_8x1_g3"),
    _classifier("regnet", "regnetx002", size=96),
)  # fmt: skip


def named(name: str) -> Network:
    """A network of the catalogue."""
    return next(network for network in NETWORKS if network.name == name)

"""AlexNet, after Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional networks", 2012."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from svertka.generated import Conv2d, CrossChannelNorm, Dropout, ImageInput, Linear, MaxPool2d, ReLU

__all__ = ["AlexNet"]

SIDE = 6  # side of the maps that the fully connected layers get, for images of 224 x 224
WINDOW, ALPHA = 5, 1e-4  # of the normalization, as in the paper


class AlexNet(nn.Module):
    """AlexNet of the lecture's layers: a photograph of any size to ``classes`` scores.

    The published network: 60,965,224 parameters for three channels and a thousand classes, where its second, fourth and
    fifth convolution run in two groups (one per GPU in the paper); 62,378,344 without groups.

    The paper has images of 224 x 224 and first maps of 55 x 55, which needs a padding of 2 that it does not mention.
    Its normalization multiplies the sum of squares by 1e-4; the lecture's layer also divides by the window, so alpha is
    5 * 1e-4 here. Initial weights are as published: normal with deviation 0.01, biases 1 in the second, fourth and
    fifth convolution and in the two hidden fully connected layers, elsewhere 0. They are meant for centred values of 0
    to 255: for a photograph of 0 to 1, ``mean`` and ``std=[1 / 255] * 3`` give these.

    Args:
        classes: number of scores.
        channels: channels of an image.
        grouped: whether the second, fourth and fifth convolution run in two groups.
        maps: number of maps of the five convolutions; smaller numbers make a smaller network of the same structure.
        units: number of units of each hidden fully connected layer.
        mean: subtracted from every channel of the resized image, one number per channel; 0 if None.
        std: divisor of every channel, one number per channel; 1 if None.

    Shapes:
        images (N, channels, H, W), any floating dtype -> scores (N, classes), same dtype.

    Raises:
        ValueError: there are not five numbers of maps, one is not positive, or two groups cannot share them.
    """

    def __init__(
        self,
        classes: int = 1000,
        channels: int = 3,
        grouped: bool = True,
        maps: Sequence[int] = (96, 256, 384, 384, 256),
        units: int = 4096,
        mean: Tensor | list[float] | None = None,
        std: Tensor | list[float] | None = None,
    ) -> None:
        super().__init__()
        maps = _checked(maps, 2 if grouped else 1)
        self.input = ImageInput(224, mean=mean, std=std)
        self.features = _features(channels, maps, 2 if grouped else 1)
        self.classifier = _classifier(maps[-1] * SIDE * SIDE, units, classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights and set biases as the paper does."""
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if name.endswith("weight"):
                    parameter.normal_(0.0, 0.01)
                else:
                    parameter.fill_(float(name.split(".")[-2] in ("conv2", "conv4", "conv5", "full1", "full2")))

    def forward(self, images: Tensor) -> Tensor:
        """Scores of every class; their softmax is the probabilities."""
        scores: Tensor = self.classifier(self.features(self.input(images)).flatten(1))
        return scores


def _features(channels: int, maps: Sequence[int], groups: int) -> nn.Sequential:
    """From an image to the pooled maps of the fifth convolution."""
    one, two, three, four, five = maps
    return nn.Sequential(
        OrderedDict(
            conv1=Conv2d(channels, one, 11, stride=4, padding=2),
            relu1=ReLU(),
            norm1=CrossChannelNorm(WINDOW, k=2.0, alpha=WINDOW * ALPHA, beta=0.75),
            pool1=MaxPool2d(3, stride=2),
            conv2=Conv2d(one, two, 5, padding=2, groups=groups),
            relu2=ReLU(),
            norm2=CrossChannelNorm(WINDOW, k=2.0, alpha=WINDOW * ALPHA, beta=0.75),
            pool2=MaxPool2d(3, stride=2),
            conv3=Conv2d(two, three, 3, padding=1),
            relu3=ReLU(),
            conv4=Conv2d(three, four, 3, padding=1, groups=groups),
            relu4=ReLU(),
            conv5=Conv2d(four, five, 3, padding=1, groups=groups),
            relu5=ReLU(),
            pool5=MaxPool2d(3, stride=2),
        )
    )


def _classifier(inputs: int, units: int, classes: int) -> nn.Sequential:
    """From flattened maps to scores."""
    return nn.Sequential(
        OrderedDict(
            dropout1=Dropout(0.5),
            full1=Linear(inputs, units),
            relu6=ReLU(),
            dropout2=Dropout(0.5),
            full2=Linear(units, units),
            relu7=ReLU(),
            full3=Linear(units, classes),
        )
    )


def _checked(maps: Sequence[int], groups: int) -> Sequence[int]:
    """The numbers of maps.

    Raises:
        ValueError: see ``AlexNet``.
    """
    if len(maps) != 5 or min(maps) < 1:
        raise ValueError(f"maps={tuple(maps)}: must be five positive numbers, one a convolution; pass as many")
    for count in maps:
        if count % groups:
            raise ValueError(
                f"maps={tuple(maps)}: {count} maps cannot be shared by {groups} groups; "
                "pass even numbers, or grouped=False"
            )
    return maps

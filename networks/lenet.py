"""LeNet-5, after LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", 1998."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from svertka.generated import Conv2d, ImageInput, Linear, MaxPool2d, ReLU

__all__ = ["LeNet5"]


class LeNet5(nn.Module):
    """LeNet-5 of the lecture's layers: an image of any size to ``classes`` scores.

    The published shape (32 x 32 images; 6, 16 and 120 maps; 84 units), with the lecture's ReLU and maximum pooling
    where the paper has sigmoidal functions and trained averages, and with every map of the third layer connected to all
    maps of the second. 61,706 parameters for one channel and ten classes.

    Args:
        classes: number of scores.
        channels: channels of an image.
        mean: subtracted from every channel of the resized image, one number per channel; 0 if None.
        std: divisor of every channel, one number per channel; 1 if None.

    Shapes:
        images (N, channels, H, W), any floating dtype -> scores (N, classes), same dtype.
    """

    def __init__(
        self,
        classes: int = 10,
        channels: int = 1,
        mean: Tensor | list[float] | None = None,
        std: Tensor | list[float] | None = None,
    ) -> None:
        super().__init__()
        self.input = ImageInput(32, mean=mean, std=std)
        self.features = nn.Sequential(
            OrderedDict(
                conv1=Conv2d(channels, 6, 5),
                relu1=ReLU(),
                pool1=MaxPool2d(2),
                conv2=Conv2d(6, 16, 5),
                relu2=ReLU(),
                pool2=MaxPool2d(2),
                conv3=Conv2d(16, 120, 5),
                relu3=ReLU(),
            )
        )
        self.classifier = nn.Sequential(OrderedDict(full1=Linear(120, 84), relu4=ReLU(), full2=Linear(84, classes)))

    def forward(self, images: Tensor) -> Tensor:
        """Scores of every class; their softmax is the probabilities."""
        scores: Tensor = self.classifier(self.features(self.input(images)).flatten(1))
        return scores

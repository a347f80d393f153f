"""From a photograph to probabilities: pixels, the input layer against Pillow and torch, refusals."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from svertka.generated import ImageInput, Linear, Softmax
from svertka.networks import AlexNet, LeNet5
from svertka.networks.photograph import classify, tensor_of
from svertka.spec import FORMATS

from .chained import bounded, on_the_host
from .given import images, narrow, of_both_signs, photograph

SINGLE = FORMATS["float32"].storage


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_every_byte_becomes_the_nearest_value(dtype: torch.dtype) -> None:
    every = np.arange(256, dtype=np.uint8).reshape(8, 32)
    values = tensor_of(every, 1, dtype)
    assert values.shape == (1, 1, 8, 32)
    for byte, value in enumerate(values.flatten()):
        around = (torch.nextafter(value, value + 1), torch.nextafter(value, value - 1))
        miss = abs(Fraction(float(value)) - Fraction(byte, 255))
        assert all(miss <= abs(Fraction(float(other)) - Fraction(byte, 255)) for other in around)


def test_channels_and_places() -> None:
    pixels = np.zeros((2, 3, 3), dtype=np.uint8)
    pixels[1, 2] = 51, 102, 255
    found = tensor_of(pixels, 3, torch.float64)
    assert found.shape == (1, 3, 2, 3)
    assert found[0, :, 1, 2].tolist() == [51 / 255, 102 / 255, 1.0]
    assert float(found.sum()) == float(found[0, :, 1, 2].sum())


def test_arrays_images_and_files_are_the_same(tmp_path: Path) -> None:
    picture = photograph(37, 23)
    picture.save(tmp_path / "picture.png")
    expected = tensor_of(np.asarray(picture))
    for given in (picture, tmp_path / "picture.png", str(tmp_path / "picture.png")):
        assert torch.equal(tensor_of(given), expected)


@pytest.mark.parametrize(("mode", "channels"), [("L", 3), ("RGBA", 3), ("P", 3), ("RGB", 1), ("1", 1), ("CMYK", 1)])
def test_modes_are_converted(mode: str, channels: int) -> None:
    picture = photograph(19, 13).convert(mode)
    expected = np.asarray(picture.convert("RGB" if channels == 3 else "L")).reshape(13, 19, channels)
    assert torch.equal(tensor_of(picture, channels), tensor_of(expected, channels))


def test_a_photograph_stands_upright(tmp_path: Path) -> None:
    """A rotated camera records it in EXIF: orientation 6 is a quarter turn clockwise."""
    picture = photograph(31, 17)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.png", exif=exif)
    assert torch.equal(tensor_of(tmp_path / "turned.png"), tensor_of(picture.rotate(-90, expand=True)))


@pytest.mark.parametrize(
    ("given", "channels", "error", "words"),
    [
        (np.zeros((4, 5, 4), np.uint8), 3, ValueError, ("photograph.shape=(4, 5, 4)", "(height, width, 3)")),
        (np.zeros((4, 5), np.uint8), 3, ValueError, ("photograph.shape=(4, 5)", "(height, width, 3)")),
        (np.zeros((0, 5, 3), np.uint8), 3, ValueError, ("photograph.shape=(0, 5, 3)", "one pixel")),
        (np.zeros((4, 5, 3), np.float32), 3, TypeError, ("photograph.dtype=float32", "astype")),
        (Image.new("I;16", (4, 5)), 1, ValueError, ("photograph.mode='I;16'", "eight bits")),
        (np.zeros((4, 5, 3), np.uint8), 2, ValueError, ("channels=2", "1 (grey) or 3")),
        ([[1, 2]], 3, TypeError, ("photograph=list", "NumPy array")),
    ],
)
def test_refusals_name_the_remedy(given: Any, channels: int, error: type[Exception], words: tuple[str, ...]) -> None:
    with pytest.raises(error) as refused:
        tensor_of(given, channels)
    assert all(word in str(refused.value) for word in words)


def test_files_that_are_no_images(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(OSError, match=r"text\.png.*Pillow"):
        tensor_of(tmp_path / "text.png")
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        tensor_of(tmp_path / "none.png")
    with pytest.raises(TypeError, match=r"dtype=torch\.int64.*float32"):
        tensor_of(photograph(4, 3), dtype=torch.int64)


@pytest.mark.slow
def test_the_input_layer_beside_pillow_and_torch() -> None:
    """2048 x 1365 to 224 x 224, all three within the formula's bound.

    Pillow's bilinear filter on floats computes in float64 and stores twice in float32: after the width and after the
    height. Weights are positive and sum to 1, so that the first rounding error is not amplified.
    """
    given, layer = tensor_of(photograph()), ImageInput()
    found = layer(given)
    assert found.shape == (1, 3, 224, 224)
    limit = bounded(layer, given.double(), on_the_host(torch.float32)).error
    twice = 2 * SINGLE * (1 + SINGLE) * float(given.max())
    for channel in range(3):
        plane = Image.fromarray(given[0, channel].numpy())
        resized = np.array(plane.resize((224, 224), Image.Resampling.BILINEAR))
        difference = (torch.from_numpy(resized).double() - found[0, channel].double()).abs()
        assert bool((difference <= 2 * limit[0, channel] + twice).all())
    double = given.double()
    theirs = functional.interpolate(double, (224, 224), mode="bilinear", align_corners=False, antialias=True)
    closer = bounded(layer, double, FORMATS["float64"]).error
    assert bool(((theirs - layer(double)).abs() <= 2 * closer).all())
    plain = functional.interpolate(double, (224, 224), mode="bilinear", align_corners=False)
    assert bool(((plain - found.double()).abs() > 2 * limit + twice).any())


@pytest.mark.parametrize("constructor", [LeNet5, AlexNet])
def test_a_photograph_to_probabilities(constructor: type[nn.Module]) -> None:
    """2048 x 1365 through both networks in full size.

    Each probability is rounded once to float32, after a sum of exponentials in float64, where all exponentials, the
    sum, the quotient and the sum here err by a few units a class.
    """
    torch.manual_seed(2)
    probabilities = classify(constructor(), photograph())
    classes = 1000 if constructor is AlexNet else 10
    assert probabilities.shape == (classes,)
    assert bool((probabilities > 0).all())
    assert abs(float(probabilities.double().sum()) - 1) <= SINGLE + 4 * classes * FORMATS["float64"].storage
    assert len(probabilities.unique()) > 1


@pytest.mark.parametrize(("name", "channels"), [("lenet", 1), ("alexnet", 3)])
def test_classify_is_the_network_and_softmax(name: str, channels: int) -> None:
    network, picture = of_both_signs(narrow(name)), photograph(67, 41)
    expected = Softmax(dim=1)(network(tensor_of(picture, channels)))[0]
    assert torch.equal(classify(network, picture), expected.detach())
    double = classify(network.double(), picture)
    assert double.dtype == torch.float64
    assert int(double.argmax()) == int(expected.argmax())


def test_classify_leaves_the_network_as_it_was() -> None:
    """Modes of all modules, gradients, and the state of the random numbers."""
    network, picture = of_both_signs(narrow("alexnet")).train(), photograph(67, 41)
    network.get_submodule("features").eval()
    before, state = [module.training for module in network.modules()], torch.get_rng_state()
    first, second = classify(network, picture), classify(network, picture)
    assert torch.equal(first, second)  # without dropout
    assert not first.requires_grad
    assert [module.training for module in network.modules()] == before
    assert len(set(before)) == 2
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(ValueError, match="shape"):
        classify(nn.Sequential(network.get_submodule("features"), Linear(3, 2)), picture)
    assert [module.training for module in network.modules()] == before


def test_classify_needs_to_know_the_channels() -> None:
    with pytest.raises(ValueError, match=r"network=Linear.*tensor_of"):
        classify(Linear(3, 2), photograph(5, 4))


def test_an_image_matters() -> None:
    """Another picture has other probabilities."""
    network = of_both_signs(narrow("alexnet"))
    one, other = (classify(network, np.asarray(255 * image.movedim(0, -1), np.uint8)) for image in images(3))
    assert not torch.equal(one, other)

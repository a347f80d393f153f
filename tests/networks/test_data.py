"""Labelled images: the digits, folders, the split, the order of batches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor

from svertka.generated import ImageInput
from svertka.networks.data import Dataset, Examples, digits, drawn_moves, folder, moved, order
from svertka.networks.photograph import tensor_of

from ..generated.agreement import equal

SIZE = (5, 4)


def rows(examples: Examples) -> list[bytes]:
    return sorted(image.numpy().tobytes() + bytes([label]) for image, label in zip(*pair(examples), strict=True))


def pair(examples: Examples) -> tuple[Tensor, list[int]]:
    return examples.pixels, examples.labels.tolist()


# Digits


def test_every_digit_is_in_one_part() -> None:
    """All of scikit-learn's digits, each once, with its label."""
    data, bundled = digits(), load_digits()
    everything = Examples(torch.from_numpy(bundled.images.astype(np.uint8))[:, None], torch.tensor(bundled.target))
    assert sorted(rows(data.training) + rows(data.test)) == rows(everything)
    assert data.classes == tuple("0123456789")
    assert data.channels == 1


def test_every_class_has_its_share_of_the_test() -> None:
    data = digits()
    whole = load_digits().target
    for label in range(10):
        assert int((data.test.labels == label).sum()) == round(0.2 * int((whole == label).sum()))


def test_images_are_between_0_and_1() -> None:
    data = digits()
    images = data.training.images(slice(0, None), torch.zeros((), dtype=torch.float64))
    assert (images.min(), images.max()) == (0, 1)
    assert images.dtype == torch.float64
    values = [Fraction(value, 16) for value in data.training.pixels.flatten().tolist()]
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / len(values)
    (found,), (spread,) = data.moments()
    assert found == float(mean)
    assert Fraction(math.nextafter(spread, 0)) ** 2 < variance < Fraction(math.nextafter(spread, 1)) ** 2


def test_a_channel_without_contrast_is_not_divided_by_0() -> None:
    pixels = torch.full((3, 2, 4, 5), 51, dtype=torch.uint8)
    pixels[0, 1] = 0
    examples = Examples(pixels, torch.tensor([0, 1, 0]))
    mean, std = Dataset(("a", "b"), examples, examples).moments()
    assert std[0] == 1
    assert 0 < std[1] < 1
    assert mean[0] == 51 / 255


def test_a_digest_tells_images_labels_and_classes() -> None:
    data = digits()
    altered = data.test.pixels.clone()
    altered[3, 0, 2, 1] += 1
    relabelled = data.test.labels.clone()
    relabelled[5] = (relabelled[5] + 1) % 10
    others = [
        data,
        replace(data, test=replace(data.test, pixels=altered)),
        replace(data, test=replace(data.test, labels=relabelled)),
        replace(data, classes=tuple("012345678X")),
        replace(data, training=data.training.at(torch.arange(len(data.training)).flip(0))),
    ]
    assert len({other.digest for other in others}) == len(others)
    assert digits().digest == data.digest


# Order


def test_an_order_is_a_permutation_of_seed_and_epoch() -> None:
    found = [order(23, seed, epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0), (11, 0), (1, 10))]
    for one in found:
        equal(one.sort().values, torch.arange(23))
    assert len({tuple(one.tolist()) for one in found}) == len(found)
    equal(order(23, 1, 10), found[-1])


def test_an_order_does_not_touch_the_process_s_random_numbers() -> None:
    state = torch.get_rng_state()
    order(23, 0, 0)
    digits()
    equal(torch.get_rng_state(), state)


# Moves


def whole_numbers(height: int, width: int) -> Tensor:
    """An image of whole numbers, moved by whole pixels: rounding gives the numbers back."""
    drawn = torch.randint(0, 256, (1, 2, height, width), generator=torch.Generator().manual_seed(3))
    return drawn.double()


def test_a_shift_by_whole_pixels_moves_them() -> None:
    image = whole_numbers(9, 7)
    for down, right in ((0, 0), (3, 0), (-2, 1), (1, -5)):
        move = torch.tensor([[[1, 0, 2 * right / 7], [0, 1, 2 * down / 9]]], dtype=torch.float64)
        rows = [min(max(row + down, 0), 8) for row in range(9)]
        columns = [min(max(column + right, 0), 6) for column in range(7)]
        equal(moved(image, move).round(), image[:, :, rows][:, :, :, columns])


def test_a_quarter_turn_turns() -> None:
    image = whole_numbers(7, 7)
    turn = torch.tensor([[[0, 1, 0], [-1, 0, 0]]], dtype=torch.float64)
    equal(moved(image, turn).round(), image.rot90(dims=(3, 2)))


def test_an_image_of_half_the_size_takes_the_mean_of_four() -> None:
    image = whole_numbers(16, 8)
    half = moved(image, 2 * torch.eye(2, 3, dtype=torch.float64)[None])[:, :, 4:12, 2:6]
    equal((4 * half).round(), image.unfold(2, 2, 2).unfold(3, 2, 2).sum((4, 5)))


def test_moves_stay_within_what_is_asked() -> None:
    """Every move is within the limits, and together they come near both limits."""
    count, turn, zoom, shift = 500, 30.0, 0.25, 0.125
    torch.manual_seed(0)
    moves = drawn_moves(count, turn, zoom, shift)
    along, across = moves[:, 0, 0], moves[:, 1, 0]
    equal(moves[:, 1, 1], along)
    equal(moves[:, 0, 1], -across)
    found = {
        turn: torch.rad2deg(torch.atan2(across, along)),
        zoom: torch.hypot(across, along) - 1,
        2 * shift: moves[:, :, 2].reshape(-1),
    }
    for most, values in found.items():
        assert values.abs().max() < most
        assert values.max() > most / 2
        assert values.min() < -most / 2
    still = drawn_moves(3, 0.0, 0.0, 0.0)
    assert (still == torch.eye(2, 3, dtype=torch.float64)).all()


# Folders


def picture(path: Path, height: int, width: int, colour: bool = False, seed: int = 0) -> Tensor:
    """Write an image; returns its content, channels first."""
    shape = (height, width, 3) if colour else (height, width)
    values = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return torch.from_numpy(values.astype(np.float32)).reshape(height, width, -1).permute(2, 0, 1)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Two classes, with 5 and 2 grey images of different sizes."""
    for number in range(5):
        picture(tmp_path / "walrus" / f"{number}.png", 7 + number, 6, seed=number)
    for number in range(2):
        picture(tmp_path / "badger" / f"{number}.PNG", 3, 9 + number, seed=10 + number)
    (tmp_path / "notes").mkdir()
    (tmp_path / "walrus" / "about.txt").write_text("no image")
    return tmp_path


def test_a_folder_s_images_have_classes_by_name(place: Path) -> None:
    data = folder(place, ImageInput(SIZE))
    assert data.classes == ("badger", "walrus")
    assert data.training.pixels.shape[1:] == (1, *SIZE)
    assert sorted(data.training.labels.tolist() + data.test.labels.tolist()) == [0] * 2 + [1] * 5
    assert sorted(data.test.labels.tolist()) == [0, 1]


def test_a_folder_s_images_are_resized_by_the_layer(place: Path) -> None:
    data = folder(place, ImageInput(SIZE))
    found = torch.cat([data.training.pixels, data.test.pixels])
    for number in range(5):
        with Image.open(place / "walrus" / f"{number}.png") as image:
            values = torch.from_numpy(np.array(image, dtype=np.float32))[None]
        expected = ImageInput(SIZE)(values).round().to(torch.uint8)
        assert sum(torch.equal(one, expected) for one in found) == 1


def test_the_order_of_a_file_system_does_not_matter(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = folder(place, ImageInput(SIZE))
    listed = Path.iterdir

    def backwards(path: Path) -> Iterator[Path]:
        return iter(sorted(listed(path), reverse=True))

    monkeypatch.setattr(Path, "iterdir", backwards)
    assert folder(place, ImageInput(SIZE)).digest == expected.digest


def test_colour_stays_and_grey_joins_it(place: Path) -> None:
    picture(place / "badger" / "colour.png", 6, 4, colour=True)
    data = folder(place, ImageInput(SIZE))
    found = torch.cat([data.training.pixels, data.test.pixels])
    assert found.shape[1] == 3
    grey = [(image[0] == image[1]).all() and (image[1] == image[2]).all() for image in found]
    assert sum(map(bool, grey)) == 7
    assert len(found) == 8


def test_a_photograph_is_read(tmp_path: Path) -> None:
    """JPEG is lossy, so it is compared with Pillow's result."""
    for name in ("a", "b"):
        for number in range(2):
            picture(tmp_path / name / f"{number}.jpg", 5, 4, colour=True, seed=number)
    data = folder(tmp_path, ImageInput(SIZE))
    with Image.open(tmp_path / "a" / "0.jpg") as image:
        expected = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    assert any(torch.equal(one, expected) for one in torch.cat([data.training.pixels, data.test.pixels]))


@pytest.mark.parametrize("turn", range(1, 9))
def test_an_image_is_turned_upright_as_a_classified_one_is(place: Path, turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    values = np.random.default_rng(3).integers(0, 256, (4, 6), dtype=np.uint8)
    turned = place / "walrus" / "turned.png"
    Image.fromarray(values).save(turned, exif=exif)
    data = folder(place, ImageInput(SIZE))
    expected = ImageInput(SIZE)(255 * tensor_of(turned, 1)[0]).round().to(torch.uint8)
    assert any(torch.equal(one, expected) for one in torch.cat([data.training.pixels, data.test.pixels]))


def refused(path: Path, words: Sequence[str]) -> None:
    with pytest.raises(ValueError, match=r"--data") as error:
        folder(path, ImageInput(SIZE))
    for word in words:
        assert word in str(error.value)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", [str(tmp_path / "nowhere"), "no such folder", "give one"])


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, [str(tmp_path), "no folders with images", "at least two", "CLASS/*.png"])


def test_one_class_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "walrus" / "0.png", 4, 3)
    refused(tmp_path, ["one class, 'walrus'", "at least two", "CLASS/*.png"])


def test_a_class_of_one_image_is_refused(place: Path) -> None:
    (place / "badger" / "1.PNG").unlink()
    refused(place, ["'badger'", "at least two", "add images"])


def test_an_image_of_sixteen_bits_is_refused(place: Path) -> None:
    """Pillow would clip everything above 255."""
    path = place / "walrus" / "deep.png"
    Image.fromarray(np.full((3, 4), 5000, dtype=np.uint16)).save(path)
    refused(place, [str(path), "mode='I;16'", "eight bits a channel", "convert"])


@pytest.mark.parametrize("damage", ["text", "cut", "empty"])
def test_an_unreadable_image_is_named(place: Path, damage: str) -> None:
    path = place / "walrus" / "3.png"
    content = path.read_bytes()
    path.write_bytes({"text": b"no image at all", "cut": content[: len(content) // 2], "empty": b""}[damage])
    refused(place, [str(path), "cannot be read as an image", "take it out"])

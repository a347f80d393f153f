"""The input layer (slide 2): resize, centre crop and normalisation of images."""

from collections.abc import Sequence
from types import EllipsisType

import numpy as np

from svertka.reference.arguments import Sizes, complaint, per_axis, require
from svertka.reference.arrays import (
    Array,
    Float64Array,
    as_float64,
    as_float64_with_rank,
    as_gradient,
    rounded,
)


def resize(input: Array, size: Sizes, antialias: bool = True) -> Array:
    """Resize images bilinearly, with half-pixel centres (slide 2).

    As `torch.nn.functional.interpolate(input, size, mode='bilinear', align_corners=False, antialias=antialias)`. Per
    axis, the centre of output i is (i + 1/2) extent / size in the input; input j, whose centre is j + 1/2, has weight
    max(0, 1 - distance / width), and the weights are divided by their sum. The width is 1, or with `antialias` max(1,
    extent / size). A pixel with weight 0 is not summed: if it is NaN, the output is not NaN.

    Args:
        input: (N, C, H, W); float16, float32 or float64.
        size: The output's height and width, or an int for both.
        antialias: Whether the triangle widens when the image shrinks.

    Returns:
        (N, C, *size), of the type of `input`.

    Raises:
        TypeError: The input is not of a float type, or a size not an integer.
        ValueError: Wrong rank, an empty image, or a size below 1.
    """
    values, rows, columns = _interpolation(input, size, antialias)
    output = _weighed(rows, _weighed(columns, values, 3), 2)
    return rounded(output, input.dtype)


def resize_backward(grad_output: Array, input: Array, size: Sizes, antialias: bool = True) -> tuple[Array]:
    """Gradient of `resize`, which is linear: the transposed matrices.

    Args:
        grad_output: Gradient of the output, of its shape.
        input: As in `resize`; only its shape and type matter.
        size: As in `resize`.
        antialias: As in `resize`.

    Returns:
        The gradient of the input, of its shape and type.

    Raises:
        TypeError: As `resize`.
        ValueError: As `resize`, and if `grad_output` does not have the output's shape.
    """
    values, rows, columns = _interpolation(input, size, antialias)
    shape = (*values.shape[:2], len(rows), len(columns))
    grad = as_gradient(grad_output, shape)
    return (rounded(_weighed(columns.T, _weighed(rows.T, grad, 2), 3), input.dtype),)


def center_crop(input: Array, size: Sizes) -> Array:
    """Cut out the middle of images (slide 2).

    As torchvision's `center_crop`, whose first row is round((H - height) / 2), with halves rounded to even; but without
    padding.

    Args:
        input: (..., H, W); float16, float32 or float64.
        size: The output's height and width, or an int for both.

    Returns:
        (..., *size), of the type of `input`.

    Raises:
        TypeError: The input is not of a float type, or a size not an integer.
        ValueError: Fewer than 2 axes, a size below 1, or beyond the image.
    """
    values = as_float64("input", input)
    return rounded(values[_middle(values.shape, size)].copy(), input.dtype)


def center_crop_backward(grad_output: Array, input: Array, size: Sizes) -> tuple[Array]:
    """Gradient of `center_crop`: 0 outside the middle.

    Args:
        grad_output: Gradient of the output, of its shape.
        input: As in `center_crop`; only its shape and type matter.
        size: As in `center_crop`.

    Returns:
        The gradient of the input, of its shape and type.

    Raises:
        TypeError: As `center_crop`.
        ValueError: As `center_crop`, and where `grad_output` has another shape.
    """
    grad_input = np.zeros_like(as_float64("input", input))
    middle = _middle(grad_input.shape, size)
    grad_input[middle] = as_gradient(grad_output, grad_input[middle].shape)
    return (rounded(grad_input, input.dtype),)


Channels = float | Sequence[float] | Array


def normalize(input: Array, mean: Channels | None = None, std: Channels | None = None) -> Array:
    """Return (x - mean) / std per channel (slide 2); as torchvision's `normalize`.

    With std = 1 this is zero-centring; with the training set's deviation it is the z-score.

    Args:
        input: (N, C, ...); float16, float32 or float64.
        mean: One number per channel, or one for all; None for 0.
        std: One number per channel, or one for all, not 0; None for 1.

    Returns:
        An array of the shape and type of `input`.

    Raises:
        TypeError: The input is not of a float type, or `mean` or `std` no numbers.
        ValueError: Fewer than 2 axes, a wrong number of values, or a zero in `std`.
    """
    values = as_float64("input", input)
    centre, deviation = _mean_and_deviation(values, mean, std)
    return rounded((values - centre) / deviation, input.dtype)


def normalize_backward(
    grad_output: Array, input: Array, mean: Channels | None = None, std: Channels | None = None
) -> tuple[Array]:
    """Gradient of `normalize`: g / std.

    Args:
        grad_output: Gradient of the output, of its shape.
        input: As in `normalize`; only its shape and type matter.
        mean: As in `normalize`; without effect.
        std: As in `normalize`.

    Returns:
        The gradient of the input, of its shape and type.

    Raises:
        TypeError: As `normalize`.
        ValueError: As `normalize`, and where the shapes differ.
    """
    values = as_float64("input", input)
    _, deviation = _mean_and_deviation(values, mean, std)
    grad = as_gradient(grad_output, values.shape)
    return (rounded(grad / deviation, input.dtype),)


def image_input(
    input: Array,
    mean: Channels | None = None,
    std: Channels | None = None,
    size: Sizes = 224,
    crop: bool = False,
    antialias: bool = True,
) -> Array:
    """Bring images to the size and range that a network expects (slide 2).

    They are resized to `size`. With `crop` they are resized to the smallest size that covers it with the proportions
    kept (in whole pixels, rounded down), and the middle is cut out. Then the channels are normalised.

    Args:
        input: (N, C, H, W); float16, float32 or float64.
        mean: As in `normalize`.
        std: As in `normalize`.
        size: The output's height and width, or an int for both.
        crop: Whether proportions are kept and the rest is cut off.
        antialias: As in `resize`.

    Returns:
        (N, C, *size), of the type of `input`.

    Raises:
        TypeError: As `resize` and `normalize`.
        ValueError: As `resize` and `normalize`.
    """
    values = as_float64_with_rank("input", input, 4)
    covering = _covering(values.shape, size, crop)
    output = normalize(center_crop(resize(values, covering, antialias), size), mean, std)
    return rounded(np.asarray(output, np.float64), input.dtype)


def image_input_backward(
    grad_output: Array,
    input: Array,
    mean: Channels | None = None,
    std: Channels | None = None,
    size: Sizes = 224,
    crop: bool = False,
    antialias: bool = True,
) -> tuple[Array]:
    """Gradient of `image_input`: the gradients of its steps, last step first.

    Args:
        grad_output: Gradient of the output, of its shape.
        input: As in `image_input`; only its shape and type matter.
        mean: As in `image_input`; without effect.
        std: As in `image_input`.
        size: As in `image_input`.
        crop: As in `image_input`.
        antialias: As in `image_input`.

    Returns:
        The gradient of the input, of its shape and type.

    Raises:
        TypeError: As `image_input`.
        ValueError: As `image_input`, and if `grad_output` does not have the output's shape.
    """
    values = as_float64_with_rank("input", input, 4)
    covering = _covering(values.shape, size, crop)
    uncropped = np.zeros((*values.shape[:2], *covering))
    output = center_crop(uncropped, size)
    (grad,) = normalize_backward(as_gradient(grad_output, output.shape), output, mean, std)
    (grad,) = center_crop_backward(grad, uncropped, size)
    (grad,) = resize_backward(grad, values, covering, antialias)
    return (rounded(np.asarray(grad, np.float64), input.dtype),)


def _covering(shape: tuple[int, ...], size: Sizes, crop: bool) -> tuple[int, int]:
    """Return the size to resize to: `size` itself, or with `crop` the smallest size that covers it."""
    new_height, new_width = per_axis("size", size, 2)
    height, width = shape[2:]
    if not crop or not height or not width:
        return new_height, new_width
    return max(new_height, height * new_width // width), max(new_width, width * new_height // height)


def _interpolation(input: Array, size: Sizes, antialias: bool) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return the images, and the matrices that resize their columns and their rows."""
    values = as_float64_with_rank("input", input, 4)
    height, width = values.shape[2:]
    rule, remedy = "images must not be empty", "Pass at least one row and one column"
    require(min(height, width) > 0, "input.shape", values.shape, rule, remedy)
    new_height, new_width = per_axis("size", size, 2)
    rows = _weights(height, new_height, antialias)
    return values, rows, _weights(width, new_width, antialias)


def _weights(extent: int, size: int, antialias: bool) -> Float64Array:
    """Return the (size, extent) matrix of interpolation along one axis."""
    scale = extent / size
    width = max(1.0, scale) if antialias else 1.0
    centres = scale * (np.arange(size) + 0.5)
    distances = np.abs(np.arange(extent) + 0.5 - centres[:, np.newaxis])
    # In whole numbers, so that no pixel at the edge gets a weight by rounding.
    apart = np.abs((2 * np.arange(extent) + 1) * size - extent * (2 * np.arange(size)[:, np.newaxis] + 1))
    covered = apart < 2 * (max(size, extent) if antialias else size)
    triangle = np.where(covered, np.maximum(0.0, 1.0 - distances / width), 0.0)
    return np.asarray(triangle / triangle.sum(axis=1, keepdims=True))


def _weighed(matrix: Float64Array, values: Float64Array, axis: int) -> Float64Array:
    """Return the weighted sums along an axis, each over the elements with nonzero weight."""
    moved = np.moveaxis(values, axis, -1)
    sums = np.zeros((*moved.shape[:-1], len(matrix)))
    for place, weights in enumerate(matrix):
        (taken,) = weights.nonzero()
        sums[..., place] = moved[..., taken] @ weights[taken]
    return np.moveaxis(sums, -1, axis)


def _middle(shape: tuple[int, ...], size: Sizes) -> tuple[EllipsisType, slice, slice]:
    """Return the slices of the middle of an image."""
    rule, remedy = "must have at least 2 axes, (..., H, W)", "Reshape the input"
    require(len(shape) >= 2, "input.shape", shape, rule, remedy)
    wanted = per_axis("size", size, 2)
    rule = f"must not exceed the image, {shape[-2:]}"
    remedy = "Pass a smaller size, or pad or resize the image first"
    fits = all(new <= old for new, old in zip(wanted, shape[-2:], strict=True))
    require(fits, "size", size, rule, remedy)
    starts = [round((old - new) / 2) for old, new in zip(shape[-2:], wanted, strict=True)]
    height, width = (slice(a, a + n) for a, n in zip(starts, wanted, strict=True))
    return ..., height, width


def _mean_and_deviation(
    values: Float64Array, mean: Channels | None, std: Channels | None
) -> tuple[Float64Array, Float64Array]:
    """Return both, in shapes that broadcast against `values`."""
    rule, remedy = "must have at least 2 axes, (N, C, ...)", "Reshape the input"
    require(values.ndim >= 2, "input.shape", values.shape, rule, remedy)
    deviation = _per_channel("std", 1.0 if std is None else std, values)
    rule, remedy = "must not be 0", "Pass the deviation of a channel that varies"
    require(bool(np.all(deviation != 0)), "std", std, rule, remedy)
    return _per_channel("mean", 0.0 if mean is None else mean, values), deviation


def _per_channel(argument: str, given: Channels, values: Float64Array) -> Float64Array:
    """Return one number per channel as (C, 1, ..., 1)."""
    channels = values.shape[1]
    try:
        numbers = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        rule, remedy = "must hold numbers", "Pass a float, or one per channel"
        raise TypeError(complaint(argument, given, rule, remedy)) from None
    rule = f"must hold one number, or {channels}, one per channel"
    fits = numbers.shape in ((), (1,), (channels,))
    require(fits, argument, given, rule, "Match it to the channels")
    return np.broadcast_to(numbers, (channels,)).reshape(channels, *(1,) * (values.ndim - 2))

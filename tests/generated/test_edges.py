"""In edge cases svertka agrees with torch: NaN and infinity, weights of 0, empty tensors, integers, refused calls."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from svertka import generated
from svertka.generated import functional

from .agreement import equal

NAN, INF = float("nan"), float("inf")


def answers(library: Any, name: str, *given: Any, **options: Any) -> list[Tensor | None]:
    """Results of a function, then the gradients of the tensors that require one."""
    tensors = [t for t in (*given, *options.values()) if isinstance(t, Tensor) and t.requires_grad]
    results = getattr(library, name)(*given, **options)
    listed = list(results) if isinstance(results, tuple) else [results]
    if not tensors:
        return listed
    grad = torch.arange(1.0, 1 + listed[0].numel()).view(listed[0].shape).to(listed[0])
    return [*(r.detach() for r in listed), *torch.autograd.grad(listed[0], tensors, grad, allow_unused=True)]


def agree(name: str, device: str, *given: Any, exactly: bool = True, **options: Any) -> None:
    """The generated function on a device and torch's on the CPU give the same, or numbers of the same kinds."""

    def on(place: str, value: Any) -> Any:
        return value.detach().to(place).requires_grad_(value.requires_grad) if isinstance(value, Tensor) else value

    found, expected = (
        answers(library, name, *(on(place, v) for v in given), **{k: on(place, v) for k, v in options.items()})
        for library, place in ((functional, device), (nn.functional, "cpu"))
    )
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one is not None
        assert other is not None
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        if exactly:
            equal(one, other)
        else:
            equal(kinds(one), kinds(other))


def kinds(values: Tensor) -> Tensor:
    """NaN, infinity and 0 unchanged, and the sign of every other number."""
    return torch.where(values.isfinite(), values.detach().sign(), values.detach())


def scores(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, requires_grad=True)


# Cross-entropy


@pytest.mark.parametrize("smoothing", [0.0, 0.25])
def test_a_mean_over_ignored_labels_alone_has_no_gradient(smoothing: float, road: str, device: str) -> None:
    """The loss is 0 / 0, but it depends on no score."""
    given = scores([0.5, -1.0, 2.0], [3.0, 1.0, 0.0]), torch.tensor([-100, -100])
    agree("cross_entropy", device, *given, label_smoothing=smoothing)


def test_a_mean_without_weight_is_none(road: str, device: str) -> None:
    """Labels whose class has weight 0 count, and their gradient is 0 / 0; that of an ignored label is 0."""
    given = scores([0.5, -1.0, 2.0], [3.0, 1.0, 0.0]), torch.tensor([1, -100])
    agree("cross_entropy", device, *given, weight=torch.tensor([1.0, 0.0, 2.0]))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.125])
@pytest.mark.parametrize("edge", [-INF, INF, NAN])
def test_a_class_weight_of_0_beside_an_infinite_score(
    edge: float, smoothing: float, reduction: str, road: str, device: str
) -> None:
    weight = torch.tensor([1.0, 0.0, 2.0])
    for label in (0, 1):
        options = {"weight": weight, "label_smoothing": smoothing, "reduction": reduction}
        agree("cross_entropy", device, scores([0.0, edge, 1.0]), torch.tensor([label]), exactly=False, **options)
    shares = torch.tensor([[0.5, 0.0, 0.5]])
    agree("cross_entropy", device, scores([0.0, edge, 1.0]), shares, exactly=False, **options)


def test_ignore_index_beside_probabilities_is_refused(road: str, device: str) -> None:
    shares = torch.full((2, 3), 1 / 3, device=device)
    with pytest.raises(ValueError, match="ignore_index=1: must be negative where the target holds probabilities"):
        functional.cross_entropy(shares, shares, ignore_index=1)
    assert functional.cross_entropy(shares, shares, ignore_index=-1).isfinite()


# Resizing


def covered(extent: int, size: int, antialias: bool) -> list[list[bool]]:
    """For each output pixel of an axis, the pixels of the input with nonzero weight."""
    scale = Fraction(extent, size)
    support = max(scale, Fraction(1)) if antialias else Fraction(1)
    half = Fraction(1, 2)
    return [[abs(i + half - (o + half) * scale) < support for i in range(extent)] for o in range(size)]


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("edge", [NAN, INF])
@pytest.mark.parametrize(("extent", "size"), [((64, 48), (8, 12)), ((5, 9), (7, 13)), ((12, 7), (12, 3))])
def test_a_pixel_that_is_no_number_spoils_what_it_has_a_part_in(
    extent: tuple[int, int], size: tuple[int, int], edge: float, antialias: bool, road: str, device: str
) -> None:
    """Forward, and backward for a gradient with a NaN."""
    row, column, out_row, out_column = extent[0] // 3, extent[1] // 2, size[0] // 2, size[1] // 3
    image, grad = torch.zeros(1, 1, *extent), torch.zeros(1, 1, *size)
    image[0, 0, row, column] = grad[0, 0, out_row, out_column] = edge
    given = image.to(device).requires_grad_()
    output = functional.resize(given, size, antialias=antialias)
    (back,) = torch.autograd.grad(output, given, grad.to(device))
    rows, columns = (torch.tensor(covered(n, m, antialias)) for n, m in zip(extent, size, strict=True))
    equal(output[0, 0].isfinite(), ~(rows[:, row, None] & columns[None, :, column]))
    equal(back[0, 0].isfinite(), ~(rows[out_row, :, None] & columns[out_column, None, :]))


def test_one_pixel_in_a_reduction_by_eight(road: str, device: str) -> None:
    image = torch.zeros(1, 1, 64, 64)
    image[0, 0, 20, 30] = NAN
    for antialias, spoilt in ((True, 4), (False, 0)):
        theirs = nn.functional.interpolate(image, (8, 8), mode="bilinear", antialias=antialias)
        found = functional.resize(image.to(device), 8, antialias=antialias)
        equal(found, theirs)
        assert int(found.isnan().sum()) == spoilt


# Max pooling


@pytest.mark.parametrize(
    ("name", "shape", "options"),
    [
        ("max_pool1d", (2, 3, 17), {"kernel_size": 5, "stride": 2, "padding": 2}),
        ("max_pool2d", (2, 3, 9, 7), {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 2}),
        ("max_pool3d", (1, 2, 5, 6, 7), {"kernel_size": 2, "stride": 1}),
    ],
)
def test_several_nan_in_a_window(
    name: str, shape: tuple[int, ...], options: dict[str, int], road: str, device: str
) -> None:
    """The last is taken, and gets the gradient, as in torch; windows of -inf have their first element."""
    draw = torch.Generator().manual_seed(len(shape))
    image = torch.randint(-2, 3, shape, generator=draw).float()
    image[torch.rand(shape, generator=draw) < 0.4] = NAN
    image[torch.rand(shape, generator=draw) < 0.2] = -INF
    agree(name, device, image.requires_grad_(), return_indices=True, **options)


# Batch norm


@pytest.mark.parametrize("name", ["batch_norm", "batch_norm_relu"])
def test_values_whose_squares_overflow(name: str, road: str, device: str) -> None:
    """float32's variance is infinite and the result the bias, as in torch; the state is infinite too."""
    values = torch.tensor([[1e30], [2e30], [-1e30]])
    found = values.to(device).requires_grad_()
    mean, variance = torch.zeros(1, device=device), torch.ones(1, device=device)
    output = getattr(functional, name)(found, mean, variance, bias=torch.tensor([0.5], device=device), training=True)
    equal(output, torch.full((3, 1), 0.5))
    (gradient,) = torch.autograd.grad(output.sum(), found)
    equal(gradient, torch.zeros(3, 1))
    means, variances = torch.zeros(1), torch.ones(1)
    nn.functional.batch_norm(values, means, variances, training=True)
    equal(kinds(mean), kinds(means))
    equal(variance, variances)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0, 3), (0, 3, 2), (2, 3, 0)])
def test_batch_norm_of_nothing(shape: tuple[int, ...], training: bool, road: str, device: str) -> None:
    channels = shape[1] if len(shape) > 1 else 1
    estimates = torch.full((channels,), 0.5), torch.full((channels,), 2.0)
    agree("batch_norm", device, torch.ones(shape, requires_grad=True), *estimates, training=training)


# Pooling


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_last_of_several_nan_wins(rank: int, road: str, device: str) -> None:
    """Its index and its gradient, as in torch."""
    random = torch.Generator().manual_seed(rank)
    values = torch.randn(2, 3, *(7, 5, 6)[:rank], generator=random)
    values[torch.rand(values.shape, generator=random) < 0.4] = NAN
    for padding in (0, 1):
        agree(f"max_pool{rank}d", device, values.requires_grad_(), 3, 2, padding, return_indices=True)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64])
@pytest.mark.parametrize("rank", [2, 3])
def test_max_pooling_of_integers(rank: int, dtype: torch.dtype, road: str, device: str) -> None:
    low, high = max(torch.iinfo(dtype).min, 1 - 2**53), min(torch.iinfo(dtype).max, 2**53 - 1)
    random = torch.Generator().manual_seed(rank)
    values = torch.randint(low, high, (2, 3, *(5, 6, 4)[:rank]), generator=random, dtype=torch.int64).to(dtype)
    agree(f"max_pool{rank}d", device, values, 2, 1, return_indices=True)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int64])
def test_relu_of_integers(dtype: torch.dtype, road: str, device: str) -> None:
    values = torch.tensor([[-3, 0, 7], [100, -1, 2]]).to(dtype)
    agree("relu", device, values)
    given = values.clone().to(device)
    assert functional.relu(given, inplace=True) is given
    equal(given, values.clamp(min=0))


@pytest.mark.parametrize("rank", [2, 3])
def test_a_negative_divisor(rank: int, road: str, device: str) -> None:
    values = torch.arange(2.0 * 5**rank).view(2, *(5,) * rank)
    agree(f"avg_pool{rank}d", device, values, 2, divisor_override=-2)
    with pytest.raises(ValueError, match="divisor_override=0: must not be 0; pass another integer, or None"):
        getattr(functional, f"avg_pool{rank}d")(values.to(device), 2, divisor_override=0)


def test_integers_that_float64_does_not_hold_are_refused(road: str, device: str) -> None:
    if road == "device":
        pytest.skip("on a device the check is an assertion of the device, which ends the process")
    with pytest.raises(
        ValueError, match=r"input=9007199254740993: every integer must lie between -2\*\*53 and 2\*\*53"
    ):
        functional.max_pool2d(torch.full((1, 2, 3), 2**53 + 1), 2)


@pytest.mark.parametrize("kind", ["max_pool", "avg_pool"])
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("stride", [None, (), []])
def test_a_stride_that_is_left_out(stride: Any, rank: int, kind: str, road: str, device: str) -> None:
    values = torch.arange(2.0 * 5**rank).view(2, *(5,) * rank)
    agree(f"{kind}{rank}d", device, values, 2, stride=stride)


# Dropout, softmax, linear


def test_dropout_of_everything(road: str, device: str) -> None:
    values = torch.tensor([1.0, 2.5, -3.0], device=device, requires_grad=True)
    output = functional.dropout(values, 1.0)
    equal(output.abs(), torch.zeros(3))
    (gradient,) = torch.autograd.grad(output.sum(), values)
    equal(gradient, torch.zeros(3))
    equal(generated.Dropout(1.0)(values.detach()).abs(), torch.zeros(3))


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("given", [torch.float16, torch.bfloat16, torch.float32, torch.int32])
def test_softmax_in_another_type(given: torch.dtype, name: str, road: str, device: str) -> None:
    values = torch.tensor([[1, -2, 3], [0, 5, 4]]).to(given)
    values.requires_grad_(given.is_floating_point)
    for dtype in (torch.float32, torch.float64):
        agree(name, device, values, dim=1, dtype=dtype, exactly=False)
        found = getattr(functional, name)(values.to(device), 1, dtype=dtype)
        equal(found, getattr(functional, name)(values.to(device, dtype), 1).cpu())


def test_a_type_for_softmax_that_is_none_is_refused(road: str, device: str) -> None:
    for dtype in (torch.int64, "float32", torch.complex64):
        with pytest.raises(TypeError, match=r"dtype=.*: must be float16, bfloat16, float32 or float64"):
            functional.softmax(torch.ones(2, 3, device=device), 1, dtype=dtype)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(3,), (2, 3), (4, 2, 3), (0, 3)])
def test_a_weight_of_one_dimension(shape: tuple[int, ...], road: str, device: str) -> None:
    """Every input row gives one number, and the dimension of the outputs is left out."""
    values = torch.arange(float(torch.Size(shape).numel())).view(shape).requires_grad_()
    weight = torch.tensor([2.0, -1.0, 0.5], requires_grad=True)
    agree("linear", device, values, weight)
    if len(shape) == 1:
        agree("linear", device, values, weight, torch.tensor(0.25, requires_grad=True))


# Modules


@pytest.mark.parametrize("name", ["BatchNorm2dReLU", "BatchNorm2dAddReLU"])
def test_a_fused_normalization_is_not_converted_as_if_it_were_torch_s(name: str) -> None:
    """It would lose the ReLU."""
    fused = getattr(generated, name)(4)
    assert nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(fused))[0] is fused
    assert list(fused.state_dict()) == list(nn.BatchNorm2d(4).state_dict())


def test_a_fused_module_is_none_of_torch_s() -> None:
    """Tools that fold batch norm into convolution look for these classes."""
    for name in ("Conv2dReLU", "BatchNorm2dReLU", "BatchNorm2dAddReLU"):
        assert not issubclass(getattr(generated, name), nn.Conv2d | nn.modules.batchnorm._BatchNorm)
    torch.manual_seed(3)
    ours = generated.Conv2dReLU(4, 6, (3, 2), 2, 1, bias=False, dtype=torch.float64)
    torch.manual_seed(3)
    theirs = nn.Conv2d(4, 6, (3, 2), 2, 1, bias=False, dtype=torch.float64)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    equal(ours.weight, theirs.weight)
    assert repr(ours) == repr(theirs).replace("Conv2d", "Conv2dReLU")

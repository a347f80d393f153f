"""Calls of every public function with torch's full argument lists, at shapes whose extents all differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

__all__ = ["CASES", "DIVISIBLE", "EXACT", "Case"]

# Sums of products of integers, largest elements: exact in float64 in any order. So are averages of multiples of a
# number that every window's count divides.
DIVISIBLE = 2520
EXACT = ("conv1d", "conv2d", "conv3d", "linear", "relu", "center_crop")
EXACT += ("conv2d_relu", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
EXACT += tuple(f"{kind}_pool{rank}d" for kind in ("max", "avg") for rank in (1, 2, 3))
EXACT += tuple(f"adaptive_{kind}_pool{rank}d" for kind in ("max", "avg") for rank in (1, 2, 3))
EXACT += ("interpolate_nearest2d", "interpolate_nearest3d")


@dataclass(frozen=True)
class Case:
    """One call.

    Attributes:
        function: name of the public function.
        shapes: of the real tensors, by argument; in order.
        options: the other arguments.
        positive: tensors whose elements are positive.
        constant: tensors that have no gradient.
    """

    function: str
    shapes: Mapping[str, tuple[int, ...]]
    options: dict[str, Any] = field(default_factory=dict)
    positive: tuple[str, ...] = ("running_var", "std")
    constant: tuple[str, ...] = ("running_mean", "running_var", "mean", "std")

    def __str__(self) -> str:
        shown = (f"{k}={tuple(v.shape) if isinstance(v, Tensor) else v}" for k, v in self.options.items())
        return f"{self.function}-{'-'.join(map(str, self.shapes.values()))}-{'-'.join(shown)}".replace(" ", "")

    @property
    def exact(self) -> bool:
        """Whether integers stay integers."""
        return self.function in EXACT

    def tensors(self, dtype: torch.dtype = torch.float64, device: str = "cpu", largest: int = 4) -> dict[str, Tensor]:
        """The real tensors; integers if the function maps integers to integers."""
        random = torch.Generator().manual_seed(len(str(self)))
        made = {}
        for name, shape in self.shapes.items():
            values = torch.randn(shape, generator=random, dtype=torch.float64)
            if self.exact:
                values = torch.randint(-largest, largest + 1, shape, generator=random).to(torch.float64)
                values *= DIVISIBLE if "avg" in self.function and largest > 1 else 1
            made[name] = (values.abs() + 0.5 if name in self.positive else values).to(device, dtype)
        return made

    def others(self, dtype: torch.dtype = torch.float64, device: str = "cpu") -> dict[str, Any]:
        """The other arguments; real tensors among them converted to another type."""
        moved = {k: v.to(device) for k, v in self.options.items() if isinstance(v, Tensor)}
        typed = {k: v.to(dtype) if v.is_floating_point() else v for k, v in moved.items()}
        return self.options | typed


def _convolutions() -> Iterator[Case]:
    shapes = {"input": (2, 4, 7, 5), "weight": (6, 2, 3, 2), "bias": (6,)}
    plain: list[dict[str, Any]] = [
        {},
        {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)},
        {"stride": 3, "padding": 2, "dilation": (2, 1)},
        {"padding": "same", "dilation": (2, 1)},
        {"padding": "valid"},
        {"stride": [2], "padding": (1,)},
    ]
    for options in plain:
        yield Case("conv2d", shapes, options | {"groups": 2})
    yield Case("conv2d", {"input": (4, 6, 5), "weight": (3, 4, 2, 3)})
    yield Case("conv2d", {"input": (2, 3, 6, 5), "weight": (6, 1, 3, 3)}, {"groups": 3, "padding": 1})
    yield Case("conv2d", {"input": (2, 3, 6, 5), "weight": (5, 3, 1, 1)})
    yield Case("conv1d", {"input": (2, 3, 9), "weight": (5, 3, 4), "bias": (5,)}, {"stride": 2, "padding": 3})
    yield Case("conv1d", {"input": (3, 8), "weight": (2, 3, 3)}, {"padding": "same"})
    yield Case("conv1d", {"input": (2, 4, 8), "weight": (4, 2, 2)}, {"dilation": (3,), "groups": 2})
    wide = {"input": (2, 2, 4, 3, 5), "weight": (4, 1, 2, 3, 2), "bias": (4,)}
    yield Case("conv3d", wide, {"stride": (1, 2, 1), "padding": (1, 0, 2), "dilation": (2, 1, 1), "groups": 2})
    yield Case("conv3d", {"input": (2, 3, 2, 4), "weight": (3, 2, 2, 1, 3)}, {"padding": "same"})


def _transposed_convolutions() -> Iterator[Case]:
    shapes = {"input": (2, 6, 4, 3), "weight": (6, 2, 3, 2), "bias": (4,)}
    plain: list[dict[str, Any]] = [
        {},
        {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 3), "output_padding": (1, 2)},
        {"stride": 3, "padding": 2, "output_padding": (2, 0), "dilation": (2, 1)},
        {"stride": [2], "padding": (1,)},
    ]
    for options in plain:
        yield Case("conv_transpose2d", shapes, options | {"groups": 2})
    yield Case("conv_transpose2d", {"input": (3, 4, 5), "weight": (3, 4, 2, 3)}, {"stride": 2})
    yield Case("conv_transpose2d", {"input": (2, 3, 4, 5), "weight": (3, 2, 1, 1)})
    yield Case("conv_transpose1d", {"input": (2, 3, 5), "weight": (3, 4, 4), "bias": (4,)}, {"stride": 2, "padding": 3})
    yield Case("conv_transpose1d", {"input": (4, 5), "weight": (4, 2, 3)}, {"groups": 2, "dilation": 2})
    wide = {"input": (2, 4, 2, 3, 2), "weight": (4, 1, 2, 1, 3), "bias": (2,)}
    options = {
        "stride": (2, 1, 3),
        "padding": (1, 0, 1),
        "output_padding": (1, 0, 2),
        "dilation": (1, 2, 1),
        "groups": 2,
    }
    yield Case("conv_transpose3d", wide, options)
    yield Case("conv_transpose3d", {"input": (3, 2, 1, 3), "weight": (3, 2, 1, 2, 2)}, {"stride": 2})


def _max_poolings() -> Iterator[Case]:
    plain: list[dict[str, Any]] = [
        {"kernel_size": 2},
        {"kernel_size": (3, 2), "stride": (2, 1), "padding": 1, "ceil_mode": True},
        {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": (1, 2), "return_indices": True},
        {"kernel_size": 2, "stride": 1, "dilation": 2, "ceil_mode": True, "return_indices": True},
    ]
    for options in plain:
        yield Case("max_pool2d", {"input": (2, 3, 8, 5)}, options)
    yield Case("max_pool2d", {"input": (3, 6, 5)}, {"kernel_size": (2, 3), "stride": 2, "return_indices": True})
    yield Case("max_pool1d", {"input": (2, 3, 9)}, {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True})
    yield Case("max_pool1d", {"input": (3, 7)}, {"kernel_size": 2, "dilation": 2, "return_indices": True})
    wide = {"kernel_size": (2, 3, 2), "stride": (1, 2, 1), "padding": (1, 1, 0), "return_indices": True}
    yield Case("max_pool3d", {"input": (2, 2, 4, 5, 3)}, wide)
    yield Case("max_pool3d", {"input": (2, 4, 3, 5)}, {"kernel_size": 2, "ceil_mode": True})


def _average_poolings() -> Iterator[Case]:
    plain: list[dict[str, Any]] = [
        {"kernel_size": 2},
        {"kernel_size": (3, 2), "stride": (2, 1), "padding": 1, "ceil_mode": True},
        {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True, "count_include_pad": False},
        {"kernel_size": 3, "stride": (1, 2), "padding": (0, 1), "divisor_override": 5},
    ]
    for options in plain:
        yield Case("avg_pool2d", {"input": (2, 3, 8, 5)}, options)
    yield Case("avg_pool2d", {"input": (3, 6, 5)}, {"kernel_size": (2, 3), "stride": None})
    yield Case("avg_pool1d", {"input": (2, 3, 9)}, {"kernel_size": 4, "stride": 3, "padding": 2, "ceil_mode": True})
    yield Case("avg_pool1d", {"input": (3, 7)}, {"kernel_size": 3, "padding": 1, "count_include_pad": False})
    wide = {"kernel_size": (2, 3, 2), "stride": (1, 2, 1), "padding": (1, 1, 0), "count_include_pad": False}
    yield Case("avg_pool3d", {"input": (2, 2, 4, 5, 3)}, wide)
    yield Case("avg_pool3d", {"input": (2, 4, 3, 5)}, {"kernel_size": 2, "ceil_mode": True, "divisor_override": 7})


def _adaptive_poolings() -> Iterator[Case]:
    """Windows that come out, that overlap, and that are longer than the output; global ones; unchanged axes."""
    shapes = ((2, 3, 9), (2, 3, 8, 5), (2, 2, 4, 5, 3))
    sizes: tuple[tuple[Any, ...], ...] = ((3, 4, 1), ((4, 2), (1, 1), (3, None)), ((2, 5, 2), 1, (None, 3, 1)))
    for rank, (shape, every) in enumerate(zip(shapes, sizes, strict=True), 1):
        for size in every:
            yield Case(f"adaptive_avg_pool{rank}d", {"input": shape}, {"output_size": size})
            told = {"output_size": size, "return_indices": True}
            yield Case(f"adaptive_max_pool{rank}d", {"input": shape}, told)
        yield Case(f"adaptive_avg_pool{rank}d", {"input": shape[1:]}, {"output_size": 2})
        yield Case(f"adaptive_max_pool{rank}d", {"input": shape[1:]}, {"output_size": 2})


def _interpolations() -> Iterator[Case]:
    """To more, fewer and equally many elements, by size and by factor; one element; one axis larger, one smaller."""
    shapes = ((2, 3, 9), (2, 3, 8, 5), (2, 2, 3, 5, 4))
    every: tuple[tuple[dict[str, Any], ...], ...] = (
        ({"size": 13}, {"scale_factor": 1.7}),
        ({"size": (3, 11)}, {"scale_factor": 2}, {"scale_factor": (0.4, 2.5)}, {"size": 1}, {"size": (8, 7)}),
        ({"size": (5, 2, 9)}, {"scale_factor": 1.5, "recompute_scale_factor": True}),
    )
    for rank, (shape, options) in enumerate(zip(shapes, every, strict=True)):
        for told in options:
            for mode in ("nearest", "nearest-exact"):
                yield Case("interpolate", {"input": shape}, told | {"mode": mode})
            linear = ("linear", "bilinear", "trilinear")[rank]
            for aligned in (False, True):
                yield Case("interpolate", {"input": shape}, told | {"mode": linear, "align_corners": aligned})
        yield Case("interpolate", {"input": shape}, {"size": 2, "mode": "area"})
    yield Case("interpolate", {"input": (2, 3, 1, 5)}, {"size": (4, 3), "mode": "bilinear", "align_corners": True})
    flat = {"size": (7, 3), "step": (5, 4), "lead": (2, 3), "parts": (6, 2)}
    deep = {"size": (5, 3, 2), "step": (1, 4, 2), "lead": (0, 1, 1), "parts": (3, 2, 1)}
    for kind in ("nearest", "linear"):
        yield Case(f"interpolate_{kind}2d", {"input": (2, 3, 8, 5)}, dict(flat))
        yield Case(f"interpolate_{kind}3d", {"input": (2, 3, 2, 6, 4)}, dict(deep))


def _rows() -> Iterator[Case]:
    for shape, dim in (((2, 4, 3), 1), ((3, 5), 1), ((2, 3, 4, 2), -1), ((2, 3, 4, 2), -4), ((6,), 0)):
        yield Case("softmax", {"input": shape}, {"dim": dim})
        yield Case("log_softmax", {"input": shape}, {"dim": dim})
    for leading in ((2, 3), (), (3,), (2, 1, 3)):
        yield Case("linear", {"input": (*leading, 5), "weight": (4, 5), "bias": (4,)})
    yield Case("linear", {"input": (3, 5), "weight": (4, 5)})
    for shape in ((2, 3, 4, 5), (7,), ()):
        yield Case("relu", {"input": shape})


def _activations() -> Iterator[Case]:
    settings: dict[str, list[dict[str, Any]]] = {
        "leaky_relu": [{"negative_slope": 0.3}],
        "relu6": [{}],
        "hardtanh": [{"min_val": -0.75, "max_val": 0.5}],
        "elu": [{"alpha": 1.7}],
        "selu": [{}],
        "gelu": [{}, {"approximate": "tanh"}],
        "silu": [{}],
        "mish": [{}],
        "hardswish": [{}],
        "hardsigmoid": [{}],
        "sigmoid": [{}],
        "tanh": [{}],
        "softplus": [{"beta": 1.5, "threshold": 0.5}],
        "softsign": [{}],
    }
    for name, every in settings.items():
        for options in every:
            yield Case(name, {"input": (2, 3, 4)}, options)
    yield Case("prelu", {"input": (2, 3, 4, 5), "weight": (3,)})
    yield Case("prelu", {"input": (2, 3, 4), "weight": (1,)})
    yield Case("prelu", {"input": (4, 3), "weight": (3,)})
    yield Case("prelu", {"input": (5,), "weight": ()})


def _losses() -> Iterator[Case]:
    labels = torch.tensor([[1, 4, 0], [-100, 2, 3]])
    scores = {"input": (2, 5, 3)}
    heavy = {"weight": torch.arange(1.0, 6.0, dtype=torch.float64)}
    for reduction in ("mean", "sum", "none"):
        yield Case("cross_entropy", scores, {"target": labels, "reduction": reduction})
        weighted = {"target": labels.clamp(min=0), "ignore_index": 2, "reduction": reduction, **heavy}
        yield Case("cross_entropy", scores, weighted | {"label_smoothing": 0.2})
        both = {"input": (2, 5, 3), "target": (2, 5, 3)}
        yield Case("cross_entropy", both, {"reduction": reduction}, positive=("target",))
        smooth = {"label_smoothing": 0.3, "reduction": reduction, **heavy}
        yield Case("cross_entropy", both, smooth, positive=("target",))
    yield Case("cross_entropy", {"input": (4, 3)}, {"target": torch.tensor([0, 2, 1, 1], dtype=torch.uint8)})
    yield Case("cross_entropy", {"input": (5,)}, {"target": torch.tensor(3), "reduction": "none"})
    yield Case("cross_entropy", {"input": (5,), "target": (5,)}, {}, positive=("target",))
    yield Case("cross_entropy", {"input": (2, 3, 2, 4)}, {"target": torch.arange(16).view(2, 2, 4) % 3})


def _normalizations() -> Iterator[Case]:
    for shape in ((2, 3, 4, 5), (4, 3), (3, 2, 5), (2, 2, 3, 1, 4)):
        c = (shape[1],)
        estimates = {"running_mean": c, "running_var": c}
        affine = {"weight": c, "bias": c}
        none = {"running_mean": None, "running_var": None}
        yield Case("batch_norm", {"input": shape, **estimates, **affine}, {"training": True, "momentum": 0.3})
        yield Case("batch_norm", {"input": shape, **estimates, **affine}, {"eps": 0.5})
        yield Case("batch_norm", {"input": shape, **affine}, {"training": True, "eps": 0.1, **none})
    yield Case("batch_norm", {"input": (3, 2, 4), **estimates, "weight": (2,)})
    yield Case("batch_norm", {"input": (3, 2, 4)}, {"training": True, **none})
    yield Case("batch_norm", {"input": (3, 2, 4), **estimates}, {"training": True, "momentum": 0.0})
    for shape, last in (((2, 3, 4), (4,)), ((2, 3, 4), (3, 4)), ((5,), (5,))):
        both = {"weight": last, "bias": last}
        yield Case("layer_norm", {"input": shape, **both}, {"normalized_shape": last, "eps": 0.25})
        yield Case("rms_norm", {"input": shape, "weight": last}, {"normalized_shape": list(last), "eps": 0.25})
    yield Case("layer_norm", {"input": (2, 3, 4), "weight": (4,)}, {"normalized_shape": [4]})
    yield Case("rms_norm", {"input": (2, 3, 4)}, {"normalized_shape": (4,)})
    yield Case("group_norm", {"input": (2, 6, 5, 3), "weight": (6,), "bias": (6,)}, {"num_groups": 2, "eps": 0.25})
    yield Case("group_norm", {"input": (3, 8)}, {"num_groups": 2})
    yield Case("group_norm", {"input": (2, 3, 4), "weight": (3,)}, {"num_groups": 3})
    for shape in ((2, 3, 4, 5), (3, 2, 5), (2, 2, 3, 1, 4)):
        c = (shape[1],)
        estimates, affine = {"running_mean": c, "running_var": c}, {"weight": c, "bias": c}
        yield Case("instance_norm", {"input": shape, **estimates, **affine}, {"momentum": 0.3})
        yield Case("instance_norm", {"input": shape, **affine}, {"eps": 0.5})
        yield Case("instance_norm", {"input": shape, **estimates}, {"use_input_stats": False, "eps": 0.1})
    sizes = (((2, 5, 3), 3), ((2, 6, 2, 3), 4), ((1, 4, 2, 1, 3), 9), ((2, 5, 3), 1))
    for shape, size in sizes:
        strong = {"alpha": 4.0, "beta": 0.75, "k": 1.5}
        yield Case("local_response_norm", {"input": shape}, {"size": size, **strong})
        yield Case("cross_channel_norm", {"input": shape}, {"window_channel_size": size, **strong})
    yield Case("cross_channel_norm", {"input": (3, 7)}, {"window_channel_size": 2, "alpha": 1.0, "beta": 1.25})


def _images() -> Iterator[Case]:
    for size, antialias in (((4, 7), True), ((4, 7), False), ((9, 3), True), (6, False)):
        yield Case("resize", {"input": (2, 3, 7, 5)}, {"size": size, "antialias": antialias})
    yield Case("resize", {"input": (3, 7, 5)}, {"size": (3, 4)})
    yield Case("center_crop", {"input": (2, 3, 8, 5)}, {"size": (3, 2)})
    yield Case("center_crop", {"input": (3, 7, 6)}, {"size": [5]})
    channels = {"mean": (3,), "std": (3,)}
    for shape in ((2, 3, 4, 5), (2, 3), (2, 3, 4)):
        yield Case("normalize", {"input": shape, **channels})
    yield Case("normalize", {"input": (2, 3, 4), "mean": (3,)})
    yield Case("image_input", {"input": (2, 3, 7, 5), **channels}, {"size": (4, 6)})
    yield Case("image_input", {"input": (2, 3, 6, 11), **channels}, {"size": (4, 3), "crop": True})
    yield Case("image_input", {"input": (3, 11, 6)}, {"size": (4, 3), "crop": True, "antialias": False})


def _fused() -> Iterator[Case]:
    shapes = {"input": (2, 4, 7, 5), "weight": (6, 2, 3, 2), "bias": (6,)}
    yield Case("conv2d_relu", shapes, {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 2})
    yield Case("conv2d_relu", {"input": (4, 6, 5), "weight": (3, 4, 2, 3)}, {"padding": "same"})
    for shape in ((2, 3, 4, 5), (4, 3)):
        c = (shape[1],)
        estimates, affine = {"running_mean": c, "running_var": c}, {"weight": c, "bias": c}
        none = {"running_mean": None, "running_var": None}
        for name, more in (("batch_norm_relu", {}), ("batch_norm_add_relu", {"residual": shape})):
            yield Case(name, {"input": shape, **estimates, **more, **affine}, {"training": True, "momentum": 0.3})
            yield Case(name, {"input": shape, **estimates, **more}, {"eps": 0.5})
            yield Case(name, {"input": shape, **more, **affine}, {"training": True, "eps": 0.1, **none})
    strong = {"alpha": 4.0, "beta": 0.75, "k": 1.5}
    yield Case("relu_cross_channel_norm", {"input": (2, 6, 2, 3)}, {"window_channel_size": 4, **strong})
    yield Case("relu_cross_channel_norm", {"input": (3, 7)}, {"window_channel_size": 3, **strong})


CASES = [
    *_fused(),
    *_convolutions(),
    *_transposed_convolutions(),
    *_max_poolings(),
    *_average_poolings(),
    *_adaptive_poolings(),
    *_interpolations(),
    *_rows(),
    *_activations(),
    *_losses(),
    *_normalizations(),
    *_images(),
]

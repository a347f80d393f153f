"""Layers that are computed together because nothing between them needs memory. All of them are compositions."""

from __future__ import annotations

from dataclasses import replace

from svertka.spec.compose import fuse
from svertka.spec.definition import Definition, ModuleFace, TensorArgument, Variant
from svertka.spec.layer import Equation, Layer
from svertka.spec.layers import batch_normalization, channel_normalization, convolution, relu
from svertka.spec.notation import Tensor, axis

__all__ = ["DEFINITIONS"]

RELU = relu.DEFINITIONS[0]
BATCH_NORM = batch_normalization.DEFINITIONS[0]

i = axis("i", "elements", many=True)
x, residual, y = Tensor("input", i), Tensor("residual", i), Tensor("output", i)
ADDITION = Definition(
    name="addition",
    title="Sum of a tensor and a residual.",
    source="He et al., arXiv:1512.03385",
    variants=(Variant(Layer("addition", (x, residual), (Equation(y, x[i] + residual[i]),), ("output",))),),
    function="add",
    arguments=(TensorArgument(name="input"), TensorArgument(name="residual")),
)


CONVOLUTION = next(d for d in convolution.DEFINITIONS if d.name == "convolution_2d")
CROSS_CHANNEL_NORM = next(d for d in channel_normalization.DEFINITIONS if d.name == "cross_channel_normalization")


SHARED = {
    "torch.nn.Conv2d": "torch.nn.modules.conv._ConvNd",
    "torch.nn.BatchNorm2d": "torch.nn.modules.batchnorm._NormBase",
}
"""Base classes with the state of torch's modules; tools that convert or fold test for the modules' own classes."""
CONSTRUCTOR = """
def __init__(
    self,
    in_channels: int,
    out_channels: int,
    kernel_size: int | tuple[int, int],
    stride: int | tuple[int, int] = 1,
    padding: str | int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    bias: bool = True,
    padding_mode: Literal["zeros"] = "zeros",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    pair = torch.nn.modules.utils._pair
    padded = padding if isinstance(padding, str) else pair(padding)
    window = (pair(kernel_size), pair(stride), padded, pair(dilation))
    super().__init__(
        in_channels, out_channels, *window, False, (0, 0), groups, bias, padding_mode, device=device, dtype=dtype
    )
"""


def _module(part: Definition, name: str, takes: tuple[str, ...] = (), constructor: str = "") -> ModuleFace:
    """A module like that of a part, for two spatial dimensions."""
    face = next(face for face in part.modules if "2d" in face.name)
    before = tuple(
        line.replace("self._check_input_dim(", f"{face.base}._check_input_dim(self, ") for line in face.before
    )
    lines = tuple(constructor.strip().splitlines())
    return replace(
        face, name=name, base=SHARED[face.base], like=face.base, constructor=lines, before=before, takes=takes
    )


CONVOLUTION_RELU = fuse(
    "convolution_2d_relu",
    CONVOLUTION,
    RELU,
    title="Convolution over 2 spatial axes, then the rectified linear unit.",
    source="slides 3 to 11",
    function="conv2d_relu",
    modules=(_module(CONVOLUTION, "Conv2dReLU", constructor=CONSTRUCTOR),),
)
BATCH_NORM_RELU = fuse(
    "batch_normalization_relu",
    BATCH_NORM,
    RELU,
    title="Batch normalization, then the rectified linear unit.",
    source="slides 11 and 20",
    function="batch_norm_relu",
    modules=(_module(BATCH_NORM, "BatchNorm2dReLU"),),
)
BATCH_NORM_ADD_RELU = fuse(
    "batch_normalization_add_relu",
    fuse("batch_normalization_add", BATCH_NORM, ADDITION),
    RELU,
    title="Batch normalization, a residual added, then the rectified linear unit.",
    source="slides 11 and 20; He et al., arXiv:1512.03385",
    function="batch_norm_add_relu",
    modules=(_module(BATCH_NORM, "BatchNorm2dAddReLU", takes=("residual",)),),
)
RELU_CROSS_CHANNEL_NORM = fuse(
    "relu_cross_channel_normalization",
    RELU,
    CROSS_CHANNEL_NORM,
    title="The rectified linear unit, then cross-channel normalization.",
    source="slides 11 and 21",
    function="relu_cross_channel_norm",
    modules=(ModuleFace("ReLUCrossChannelNorm"),),
)

DEFINITIONS = (CONVOLUTION_RELU, BATCH_NORM_RELU, BATCH_NORM_ADD_RELU, RELU_CROSS_CHANNEL_NORM)

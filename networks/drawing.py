"""A network's architecture as SVG, drawn from its summary.

Maps are boxes: the thickness shows the channels, height and depth show the extents of the maps (the square root of the
extents, so that a photograph and a map of six pixels fit one picture). Vectors are bars. Groups of a convolution are
drawn apart. A window is drawn to scale on the maps over which it slides. Layers that change no shape and have no
parameters are listed below the box on which they work.

Input: a ``Summary``. Output: a complete SVG document.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from math import prod, sqrt

from .summary import LayerSummary, Shape, Summary

__all__ = ["draw"]

EDGE, GAP, HEAD, LINE, APART = 24, 26, 64, 15, 9
SLANT = (0.34, 0.26)  # shift to the right and up, as shares of the depth
LARGEST = 260  # pixels, the largest size of a box
CHARACTER = 6.3  # width of a character of the labels

STYLE = """
svg { background: #fdfcfa; font: 11px system-ui, sans-serif; }
text { fill: #23272e; text-anchor: middle; }
.title { font-size: 18px; font-weight: 600; text-anchor: start; }
.quiet { fill: #6b7280; } .name { font-weight: 600; } .start { text-anchor: start; }
.face { stroke: #23272e; stroke-width: 0.8; stroke-linejoin: round; }
.pixels { fill: #cfd8dc; } .weighted { fill: #8fb8e8; } .window { fill: #f6c177; } .full { fill: #b9a3e3; }
.paper { fill: #fdfcfa; } .top:not(.paper) { fill-opacity: 0.55; } .side:not(.paper) { fill-opacity: 0.8; }
.view { fill: #f2a900; fill-opacity: 0.35; stroke: #b45309; stroke-width: 0.8; }
.ray, .arrow { fill: none; stroke: #6b7280; stroke-width: 0.8; } .ray { stroke-dasharray: 3 2; }
.chip { fill: none; stroke: #9aa1ab; stroke-width: 0.8; }
@media (prefers-color-scheme: dark) {
  svg { background: #15181c; } text { fill: #e6e8eb; } .quiet { fill: #9aa1ab; } .face { stroke: #e6e8eb; }
  .paper { fill: #15181c; }
  .pixels { fill: #4b5a63; } .weighted { fill: #2f5f96; } .window { fill: #9a6412; } .full { fill: #5f48a0; }
}
"""


@dataclass
class _Stage:
    """One box of the drawing: a layer's output, with the following layers that do not change its shape."""

    shape: Shape
    layer: LayerSummary | None = None
    after: list[LayerSummary] = field(default_factory=list)
    left: float = 0.0
    bottom: float = 0.0

    @property
    def groups(self) -> int:
        return self.layer.groups if self.layer is not None else 1

    @property
    def flat(self) -> bool:
        """Whether it is a vector instead of maps."""
        return len(self.shape) == 2

    @property
    def size(self) -> tuple[float, float, float]:
        """Thickness, without gaps between groups; height; depth."""
        if self.flat:
            return 12.0, 8 + 2.2 * sqrt(self.shape[1]), 0.0
        # Maps with one axis have no depth.
        extents = [6 + 10 * sqrt(min(extent, LARGEST)) for extent in self.shape[2:]]
        return 3 + 1.5 * sqrt(self.shape[1]), extents[0], extents[-1] if len(extents) > 1 else 0.0

    @property
    def width(self) -> float:
        thickness, _, depth = self.size
        return thickness + (self.groups - 1) * APART + SLANT[0] * depth

    @property
    def kind(self) -> str:
        """The class that sets its colour."""
        layer = self.layer
        if layer is None or not (layer.parameters or layer.window):
            return "pixels"
        return "full" if self.flat else "weighted" if layer.parameters else "window"

    @property
    def labels(self) -> list[tuple[str, str]]:
        """Class and text of the lines below."""
        lines = [("quiet", " × ".join(map(str, self.shape[1:])))]
        if self.layer is not None and self.layer.parameters:
            lines.append(("quiet", f"{self.layer.parameters:,}"))
        return lines

    @property
    def heads(self) -> list[tuple[str, str]]:
        """Class and text of the lines above the box."""
        if self.layer is None:
            return [("name", "image")]
        lines = [("name", self.layer.name.rpartition(".")[2] or self.layer.kind)]
        return lines + [("quiet", text) for text in _settings(self.layer)]

    @property
    def chips(self) -> list[str]:
        return [layer.kind for layer in self.after]

    @property
    def column(self) -> float:
        """Width including its text."""
        texts = [text for _, text in (*self.labels, *self.heads)]
        longest = max(len(text) for text in (*texts, *(f"{chip}  " for chip in self.chips)))
        return max(self.width, CHARACTER * longest)


def draw(summary: Summary) -> str:
    """Draw a network.

    Args:
        summary: the summary of the network, see ``summarize``.

    Returns:
        An SVG document.
    """
    stages = _stages(summary)
    above = max(LINE * len(stage.heads) + stage.size[1] + SLANT[1] * stage.size[2] for stage in stages)
    below = max(LINE * len(stage.labels) + 20 * len(stage.chips) for stage in stages)
    middle = HEAD + above / 2
    left = float(EDGE)
    for stage in stages:
        _, height, depth = stage.size
        stage.left = left + (stage.column - stage.width) / 2
        stage.bottom = middle + (height + SLANT[1] * depth) / 2 + LINE
        left += stage.column + GAP
    base = max(stage.bottom for stage in stages)
    width, height = left - GAP + EDGE, base + below + LINE + EDGE
    parts = [*_title(summary)]
    for before, stage in zip([None, *stages], stages, strict=False):
        parts += _box(stage, base)
        parts += _leading(before, stage) if before is not None else ()
    name = escape(summary.name)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="Architecture of {name}">'
        f"<title>{name}</title><style>{STYLE}</style>{''.join(parts)}</svg>\n"
    )


def _stages(summary: Summary) -> list[_Stage]:
    stages = [_Stage(summary.image)]
    for layer in summary.layers:
        if layer.multiply_adds or layer.output != layer.input:
            stages.append(_Stage(layer.output, layer))
        else:
            stages[-1].after.append(layer)
    return stages


def _settings(layer: LayerSummary) -> Iterator[str]:
    """Window and stride as ``11 × 11 / 4``, and groups."""
    if layer.window is not None:
        strides = set(layer.window.stride)
        every = "" if strides == {1} else f" / {strides.pop()}" if len(strides) == 1 else f" / {layer.window.stride}"
        yield " × ".join(map(str, layer.window.kernel)) + every
    if layer.groups > 1:
        yield f"{layer.groups} groups"


def _title(summary: Summary) -> Iterator[str]:
    yield f'<text class="title" x="{EDGE}" y="34">{escape(summary.name)}</text>'
    text = f"{summary.parameters:,} parameters, {summary.multiply_adds:,} multiply-adds"
    images = "an image" if summary.image[0] == 1 else f"{summary.image[0]} images"
    yield f'<text class="quiet start" x="{EDGE}" y="52">{text} for {images}</text>'


def _box(stage: _Stage, base: float) -> Iterator[str]:
    """A stage's faces, one body per group, with its labels."""
    thickness, height, depth = stage.size
    right, up = SLANT[0] * depth, SLANT[1] * depth
    part, top = thickness / stage.groups, stage.bottom - height
    yield f'<g class="stage"><title>{escape(_told(stage))}</title>'
    for group in reversed(range(stage.groups)):
        x = stage.left + group * (part + APART)
        for look in ("paper", stage.kind) if depth else ():  # tints are transparent, so opaque paper lies below
            yield _polygon(f"face top {look}", (x, top), (right, -up), (part, 0), (-right, up))
            yield _polygon(f"face side {look}", (x + part, top), (right, -up), (0, height), (-right, up))
        yield _polygon(f"face {stage.kind}", (x, top), (part, 0), (0, height), (-part, 0))
    centre = stage.left + stage.width / 2
    head = top - up - LINE * len(stage.heads) + 8
    for number, (kind, text) in enumerate(stage.heads):
        yield f'<text class="{kind}" x="{centre:.1f}" y="{head + LINE * number:.1f}">{escape(text)}</text>'
    for number, (kind, text) in enumerate(stage.labels, 1):
        yield f'<text class="{kind}" x="{centre:.1f}" y="{base + LINE * number:.1f}">{escape(text)}</text>'
    for number, text in enumerate(stage.chips):
        y = base + LINE * len(stage.labels) + 20 * (number + 1)
        wide = CHARACTER * len(text) + 8
        yield f'<rect class="chip" x="{centre - wide / 2:.1f}" y="{y - 12:.1f}" width="{wide:.1f}" height="16" rx="8"/>'
        yield f'<text x="{centre:.1f}" y="{y:.1f}">{escape(text)}</text>'
    yield "</g>"


def _told(stage: _Stage) -> str:
    """The tooltip of a box."""
    layer = stage.layer
    if layer is None:
        return f"image: {prod(stage.shape):,} values"
    told = [f"{layer.name}: {layer.kind}({layer.settings})", f"{layer.parameters:,} parameters"]
    told.append(f"{layer.multiply_adds:,} multiply-adds")
    if layer.field is not None:
        told.append(f"receptive field {' × '.join(map(str, layer.field.size))}")
    return ", ".join(told)


def _leading(before: _Stage, stage: _Stage) -> Iterator[str]:
    """The window on the maps before, with lines to its result; an arrow if there is none."""
    _, height, depth = before.size
    right, up = SLANT[0] * depth, SLANT[1] * depth
    target = stage.left, stage.bottom - stage.size[1] / 2
    window = stage.layer.window if stage.layer is not None else None
    if window is None or not depth:
        middle = before.left + before.width + 4, target[1]
        end = max(target[0] - 4, middle[0] + 6)
        yield f'<path class="arrow" d="M{middle[0]:.1f} {middle[1]:.1f}H{end:.1f}m-4 -3l4 3l-4 3"/>'
        return
    high, wide = (
        min(k / extent, 1.0) for k, extent in zip((window.kernel[0], window.kernel[-1]), before.shape[-2:], strict=True)
    )
    x = before.left + before.width - right * (1 + wide) / 2
    y = before.bottom - height * (1 + high) / 2 - up * (1 - wide) / 2
    across, down = (right * wide, -up * wide), (0.0, height * high)
    yield _polygon("view", (x, y), across, down, (-across[0], -across[1]))
    for corner in ((x + across[0], y + across[1]), (x + across[0], y + across[1] + down[1])):
        yield f'<path class="ray" d="M{corner[0]:.1f} {corner[1]:.1f}L{target[0]:.1f} {target[1]:.1f}"/>'


def _polygon(kind: str, start: tuple[float, float], *steps: Sequence[float]) -> str:
    """A face from a corner along steps."""
    path = "".join(f"l{x:.1f} {y:.1f}" for x, y in steps)
    return f'<path class="{kind}" d="M{start[0]:.1f} {start[1]:.1f}{path}z"/>'

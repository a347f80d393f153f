"""``svertka network``: a network layer by layer, and its classification of a photograph."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.filesize import decimal
from rich.table import Table

from svertka.codegen.command.terminal import application, console

if TYPE_CHECKING:
    from svertka.networks.summary import LayerSummary, Summary

SHOWN = 5  # classes of a photograph
DTYPES = ("float32", "float64", "bfloat16", "float16")


@application.command()
def network(
    name: Annotated[str, typer.Argument(help="alexnet or lenet.")],
    ungrouped: Annotated[bool, typer.Option("--ungrouped", help="Without groups, where the network has them.")] = False,
    classes: Annotated[int | None, typer.Option(help="Number of classes; the network's own by default.")] = None,
    size: Annotated[str, typer.Option(help="Width and height of the photograph.")] = "2048x1365",
    batch: Annotated[int, typer.Option(help="Number of images.")] = 1,
    dtype: Annotated[str, typer.Option(help=", ".join(DTYPES))] = "float32",
    svg: Annotated[Path | None, typer.Option(help="File of the drawing; build/NAME.svg by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same numbers as JSON.")] = False,
    image: Annotated[Path | None, typer.Option(help="A photograph to classify.")] = None,
    state: Annotated[Path | None, typer.Option(help="A state_dict for it, as torch.save writes it.")] = None,
) -> None:
    """Show a network's shapes, parameters, multiply-adds, receptive field and memory per layer, and draw it."""
    import torch

    from svertka.networks.drawing import draw
    from svertka.networks.summary import summarize

    if state is not None and image is None:
        raise ValueError(f"--state {state}: parameters matter for a photograph alone; name one with --image")
    if dtype not in DTYPES:
        raise ValueError(f"--dtype {dtype}: unknown; use {', '.join(DTYPES)}")
    if batch < 1:
        raise ValueError(f"--batch {batch}: must be at least 1; pass the number of images")
    if image is not None and not image.is_file():
        raise ValueError(f"--image {image}: there is no such file; name a photograph")
    shape = (batch, _channels(name), *_height_and_width(size))
    with torch.device("meta"):
        described = _built(name, ungrouped, classes)
    summary = summarize(described, shape, getattr(torch, dtype))
    target = svg or Path("build") / f"{name}.svg"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(draw(summary), encoding="utf-8")
    found = _probabilities(_built(name, ungrouped, classes), image, state) if image is not None else []
    if as_json:
        told = _as_json(summary) | ({"probabilities": found} if found else {})
        console.print(json.dumps(told, indent=2), highlight=False, markup=False, soft_wrap=True)
        return
    console.print(_table(summary))
    for line in (*_totals(summary), *_best(found, drawn=state is None), str(target)):
        console.print(line, highlight=False, markup=False)


def _built(name: str, ungrouped: bool, classes: int | None) -> Any:
    """A network by its name.

    Raises:
        ValueError: there is no such network, it has no groups, or the number of classes is not positive.
    """
    constructor = _constructor(name)
    options: dict[str, Any] = {}
    if ungrouped:
        if "grouped" not in inspect.signature(constructor).parameters:
            raise ValueError(f"--ungrouped: {name} has no groups; leave it out")
        options["grouped"] = False
    if classes is not None:
        if classes < 1:
            raise ValueError(f"--classes {classes}: must be at least 1; pass the number of classes")
        options["classes"] = classes
    return constructor(**options)


def _constructor(name: str) -> Any:
    from svertka.networks import NETWORKS

    if name not in NETWORKS:
        raise ValueError(f"network {name!r}: there is no such network; use {', '.join(NETWORKS)}")
    return NETWORKS[name]


def _channels(name: str) -> int:
    """Channels of a network's images."""
    return int(inspect.signature(_constructor(name)).parameters["channels"].default)


def _height_and_width(size: str) -> tuple[int, int]:
    """Height and width from ``WIDTHxHEIGHT``.

    Raises:
        ValueError: it is not written so.
    """
    parts = size.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) for part in parts):
        raise ValueError(f"--size {size}: must be two positive numbers, width and height; write 2048x1365")
    return int(parts[1]), int(parts[0])


def _probabilities(classifier: Any, image: Path, state: Path | None) -> list[float]:
    """Class probabilities of a photograph."""
    import torch

    from svertka.networks.photograph import classify

    if state is not None:
        classifier.load_state_dict(torch.load(state, map_location="cpu", weights_only=True))
    found: list[float] = classify(classifier, image).tolist()
    return found


def _best(probabilities: Sequence[float], drawn: bool) -> Iterator[str]:
    """The most probable classes, if there was a photograph."""
    order = sorted(range(len(probabilities)), key=lambda label: -probabilities[label])
    best = ", ".join(f"{label}: {probabilities[label]:.3g}" for label in order[:SHOWN])
    if best:
        yield f"class probabilities: {best}"
        if drawn:
            yield "parameters were drawn, not trained; --state FILE loads trained ones"


def _table(summary: Summary) -> Table:
    """One row per layer."""
    from svertka.networks.summary import product

    table = Table(title=f"{summary.name}, {product(summary.image)} {str(summary.dtype).removeprefix('torch.')}")
    table.add_column("layer")
    table.add_column("module")
    for heading in ("shape", "parameters", "multiply-adds", "receptive field", "jump", "output", "parameters' memory"):
        table.add_column(heading, justify="right")
    for layer in summary.layers:
        table.add_row(*_row(layer))
    sums = f"{summary.parameters:,}", f"{summary.multiply_adds:,}", "", "", decimal(summary.activation_bytes)
    table.add_section()
    table.add_row("all", "", "", *sums, decimal(summary.parameter_bytes))
    return table


def _row(layer: LayerSummary) -> tuple[str, ...]:
    from svertka.networks.summary import product, row_of

    return (
        *row_of(layer),
        product(layer.field.jump) if layer.field is not None and len(layer.output) > 2 else "",
        decimal(layer.output_bytes),
        decimal(layer.parameter_bytes) if layer.parameter_bytes else "",
    )


def _totals(summary: Summary) -> list[str]:
    """The meaning of the columns, and their totals."""
    return [
        f"memory: parameters {decimal(summary.parameter_bytes)}; outputs of all layers, kept for gradients, "
        f"{decimal(summary.activation_bytes)}; largest input and output of one layer {decimal(summary.working_bytes)}",
        "multiply-adds: of convolutions and fully connected layers, biases not counted; receptive field: in pixels "
        "that the input layer gives, padding included",
    ]


def _as_json(summary: Summary) -> dict[str, Any]:
    totals = {name: getattr(summary, name) for name in ("multiply_adds", "activation_bytes", "working_bytes")}
    return asdict(summary) | totals | {"dtype": str(summary.dtype).removeprefix("torch.")}

"""Learning curves: loss and accuracy per epoch, on the training and the test images, as a picture."""

from __future__ import annotations

import io
from pathlib import Path

from .checkpoint import write_bytes
from .training import Training

__all__ = ["FILE", "curves", "draw"]

FILE = "curves.png"
COLOURS = {"training": "#b3541e", "test": "#1f5fa8"}
MARKERS = {"training": "o", "test": "s"}


def curves(training: Training) -> dict[str, dict[str, list[float]]]:
    """Loss and accuracy per epoch."""
    epochs, data = training.epochs, training.data
    return {
        "loss": {
            "training": [epoch.training_loss for epoch in epochs],
            "test": [epoch.test_loss for epoch in epochs],
        },
        "accuracy": {
            "training": [epoch.training_right / len(data.training) for epoch in epochs],
            "test": [epoch.test_right / len(data.test) for epoch in epochs],
        },
    }


def draw(training: Training, path: Path, title: str) -> None:
    """Write the curves as a PNG, with the loss of every step behind them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    figure = Figure(figsize=(10, 4.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    panels = figure.subplots(1, 2)
    places = [(step + 1) / training.steps_per_epoch for step in range(len(training.losses))]
    panels[0].plot(places, training.losses, color=COLOURS["training"], alpha=0.3, linewidth=0.8, label="each step")
    for panel, (what, lines) in zip(panels, curves(training).items(), strict=True):
        for name, values in lines.items():
            epochs = range(1, len(values) + 1)
            panel.plot(
                epochs, values, color=COLOURS[name], marker=MARKERS[name], markersize=4, label=name, clip_on=False
            )
        panel.set_xlabel("epoch")
        panel.set_ylabel(what)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.grid(alpha=0.3)
        panel.legend(loc="upper right" if what == "loss" else "lower right")
    panels[0].set_ylabel("loss")
    panels[0].set_ylim(bottom=0)
    panels[1].set_ylim(0, 1)
    panels[1].yaxis.set_major_formatter(PercentFormatter(xmax=1.0))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})  # the same run gives the same bytes
    write_bytes(buffer.getvalue(), path)

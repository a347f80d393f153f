"""``svertka train``: train a network on images, with a progress bar, checkpoints and learning curves."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from svertka.codegen.command.terminal import application, console, errors, needed
from svertka.codegen.driver.write import check_writable

STOPPED = 130
"""Exit code of a run that was stopped by Ctrl-C, as in shells."""
FOLDER = Path("build/train")


@application.command()
def train(
    network: Annotated[str, typer.Argument(metavar="NETWORK", help="lenet, or another of svertka.networks.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder of images, DIR/CLASS/*.png or *.jpg; scikit-learn's digits by default.")
    ] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the training images.")] = 15,
    batch: Annotated[int, typer.Option(help="Images a step.")] = 32,
    rate: Annotated[float, typer.Option(help="The largest learning rate.")] = 0.03,
    turn: Annotated[float, typer.Option(help="Training images turn by up to so many degrees.")] = 10.0,
    zoom: Annotated[float, typer.Option(help="Training images grow or shrink by up to this share.")] = 0.1,
    shift: Annotated[float, typer.Option(help="Training images move by up to this share of their side.")] = 0.0625,
    seed: Annotated[int, typer.Option(help="Of all random numbers.")] = 0,
    device: Annotated[str, typer.Option(help="cpu: the reference; cuda: the kernels.")] = "cpu",
    into: Annotated[Path | None, typer.Option(help="Folder of the results; build/train/NETWORK by default.")] = None,
    every: Annotated[float, typer.Option(help="Seconds between checkpoints, besides those after an epoch.")] = 30.0,
    resume: Annotated[
        bool | None,
        typer.Option("--resume/--fresh", help="Go on from the checkpoint, or not; by default if there is one."),
    ] = None,
) -> None:
    """Train a network of generated layers on images, and evaluate it on images that it has not seen.

    A run that was stopped or killed continues when it is called again, and ends with the same bits as an uninterrupted
    one.
    """
    os.environ.pop("TRITON_INTERPRET", None)
    place = into or FOLDER / network
    check_writable(place, "--into")
    needed("PIL", "matplotlib", *([] if data else ["sklearn"]))
    from svertka.networks import checkpoint
    from svertka.networks.training import Settings

    training = _training(Settings(network, epochs, batch, rate, turn, zoom, shift, seed, device), data)
    kept = place / checkpoint.FILE
    if resume or (resume is None and kept.exists()):
        training.load_state_dict(checkpoint.read(kept))
        console.print(_standing(training, kept), highlight=False, markup=False)
    begun, before = time.monotonic(), len(training.losses)
    finished = _run(training, kept, every)
    _draw(training, place, device)
    if not finished:
        errors.print(
            f"stopped: {_standing(training, kept)}; the same call goes on from there", highlight=False, markup=False
        )
        raise typer.Exit(STOPPED)
    count, right = len(training.data.test), training.epochs[-1].test_right
    console.print(
        f"test accuracy {training.accuracy:.2%} ({right} of {count} images); {len(training.losses) - before} steps "
        f"in {time.monotonic() - begun:.1f} s on {device}; {place}: {kept.name}, {_curves_file()}",
        highlight=False,
        markup=False,
    )


def _training(settings: Any, data: Path | None) -> Any:
    """A new run.

    Raises:
        ValueError: the network is unknown, or the images are not found.
    """
    import torch

    from svertka.networks import NETWORKS
    from svertka.networks.data import digits, folder
    from svertka.networks.training import Training, built, resizing

    if settings.network not in NETWORKS:
        raise ValueError(f"network={settings.network!r}: must be one of {', '.join(NETWORKS)}; name one of these")
    if settings.device == "cpu":
        torch.set_num_threads(1)  # NumPy computes the layers; torch's own share is too small for threads
    constructor = NETWORKS[settings.network]
    if data is None:
        images = digits()
    else:
        with torch.device("meta"):  # only its input is used
            size_of = resizing(constructor())
        images = folder(data, size_of)
    console.print(
        f"{len(images.training)} images to train on, {len(images.test)} to test, {len(images.classes)} classes",
        highlight=False,
    )
    return Training(built(constructor, images, settings.seed), images, settings)


def _run(training: Any, kept: Path, every: float) -> bool:
    """Train to the end; False if Ctrl-C stopped it before."""
    from svertka.networks import checkpoint
    from svertka.networks.training import train as train_on

    with _stopping() as stopped, _bar(training) as watch:
        train_on(
            training,
            save=lambda run: checkpoint.write(run.state_dict(), kept),
            every=every,
            watch=watch,
            stopped=lambda: bool(stopped),
        )
    return bool(training.finished)


def _draw(training: Any, place: Path, device: str) -> None:
    from svertka.networks.curves import draw

    settings = training.settings
    draw(training, place / _curves_file(), f"{settings.network}, seed {settings.seed}, {device}")


def _curves_file() -> str:
    from svertka.networks.curves import FILE

    return FILE


def _standing(training: Any, kept: Path) -> str:
    if training.finished:
        return f"{kept} holds the finished run"
    return (
        f"{kept} holds epoch {len(training.epochs) + 1} of {training.settings.epochs} after step "
        f"{training.seen.steps} of {training.steps_per_epoch}"
    )


@contextmanager
def _stopping() -> Iterator[list[int]]:
    """A list to which Ctrl-C appends a signal, so that the current step is finished; a second Ctrl-C stops at once."""
    received: list[int] = []

    def receive(number: int, frame: object) -> None:
        received.append(number)
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, receive)
    try:
        yield received
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _bar(training: Any) -> Iterator[Any]:
    """A bar over all steps, with loss, accuracy and the time left; otherwise one line per epoch."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}, accuracy {task.fields[accuracy]:.1%}, left"),
        TimeRemainingColumn(),
    )
    epochs = training.settings.epochs
    with Progress(*columns, console=errors, disable=not errors.is_terminal) as bar:
        task = bar.add_task(
            "", total=epochs * training.steps_per_epoch, completed=len(training.losses), loss=float("nan"), accuracy=0.0
        )

        # On a terminal the bar's own console prints lines above the bar; a file gets them from standard output.
        lines = bar.console if console.is_terminal and errors.is_terminal else console

        def watch(run: Any) -> None:
            bar.update(task, completed=len(run.losses))
            if run.seen.steps == 0:
                lines.print(_line(run), highlight=False)
            else:
                figures = {"loss": run.seen.loss / run.seen.images, "accuracy": run.seen.right / run.seen.images}
                bar.update(task, description=f"epoch {len(run.epochs) + 1}/{epochs}", **figures)

        yield watch


def _line(training: Any) -> str:
    """The last epoch in one line."""
    last, data, epochs = training.epochs[-1], training.data, training.settings.epochs
    return (
        f"epoch {len(training.epochs):{len(str(epochs))}}/{epochs}"
        f"  training: loss {last.training_loss:.4f}, accuracy {last.training_right / len(data.training):.2%}"
        f"  test: loss {last.test_loss:.4f}, accuracy {last.test_right / len(data.test):.2%}"
    )

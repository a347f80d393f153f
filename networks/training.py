"""Training: stochastic gradient descent on cross-entropy, with the same bits every time, with or without interruption.

A ``Training`` is a run at some step of some epoch. Everything on which its next step depends is in ``state_dict``:
parameters, momentum, the learning rate schedule, the states of the random number generators, the position in the epoch
and its intermediate results. The order of an epoch follows from the seed and the epoch only. A run draws from its own
random states: those of the process are unchanged after every step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from svertka.generated import CrossEntropyLoss, ImageInput

from .data import Dataset, drawn_moves, moved, order

__all__ = ["Epoch", "Settings", "Training", "built", "resizing", "train"]

MOMENTUM, WEIGHT_DECAY, SMOOTHING = 0.9, 2e-3, 0.1
BEGIN, RISE = 4.0, 0.2  # the rate begins at a fourth, and rises for a fifth of the steps
AT_ONCE = 128  # test images per call


@dataclass(frozen=True)
class Settings:
    """The settings of a run; together with the images they determine every bit.

    Attributes:
        network: its name among ``NETWORKS``.
        epochs: how often every training image is used.
        batch: images per step.
        rate: the largest learning rate; it rises for the first fifth of the steps, then falls, along cosines.
        turn: the largest angle, in degrees, by which training images are rotated at random,
        zoom: the largest share by which they grow or shrink,
        shift: and the largest share of their side by which they move.
        seed: of initial parameters, order, moves and dropout.
        device: ``cpu`` for the reference, ``cuda`` for the kernels.
    """

    network: str = "lenet"
    epochs: int = 15
    batch: int = 32
    rate: float = 0.03
    turn: float = 10.0
    zoom: float = 0.1
    shift: float = 0.0625
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        rules = {
            "epochs": (self.epochs >= 1, "at least 1", "give the number of passes over the training images"),
            "batch": (self.batch >= 1, "at least 1", "give the number of images a step"),
            "rate": (0 < self.rate < math.inf, "positive and finite", "0.03 is a good start"),
            "turn": (0 <= self.turn <= 180, "between 0 and 180", "it is an angle in degrees; 0 turns nothing"),
            "zoom": (0 <= self.zoom < 1, "at least 0 and below 1", "it is a share of an image's size; 0 keeps it"),
            "shift": (0 <= self.shift <= 0.5, "between 0 and 0.5", "it is a share of an image's side; 0 moves nothing"),
            "seed": (0 <= self.seed < 2**63, "between 0 and 2**63 - 1", "any of these will do"),
            "device": (self.device in ("cpu", "cuda"), "cpu or cuda", "cpu runs everywhere"),
        }
        for name, (holds, rule, remedy) in rules.items():
            if not holds:
                raise ValueError(f"{name}={getattr(self, name)!r}: must be {rule}; {remedy}")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError("device='cuda': must be a device that is there, PyTorch finds no GPU; use cpu")


@dataclass(frozen=True)
class Epoch:
    """The results of an epoch.

    Attributes:
        training_loss: mean over its images, each before the step that uses it.
        training_right: how many of these were classified correctly.
        test_loss: mean over the test images, after the epoch.
        test_right: how many of these are classified correctly.
    """

    training_loss: float
    training_right: int
    test_loss: float
    test_right: int


@dataclass
class _Seen:
    """The results of the current epoch so far."""

    steps: int = 0
    images: int = 0
    loss: float = 0.0
    right: int = 0


def built(constructor: Callable[..., nn.Module], data: Dataset, seed: int) -> nn.Module:
    """A network for these images, its initial parameters drawn from a seed.

    Args:
        constructor: takes ``classes``, ``channels``, ``mean`` and ``std``.
        data: images; mean and deviation of the training images become part of the network.
        seed: of the parameters.
    """
    mean, std = data.moments()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return constructor(classes=len(data.classes), channels=data.channels, mean=mean, std=std)


def resizing(network: Any) -> ImageInput:
    """A network's input layer without mean and deviation: it resizes any image for the first convolution."""
    return ImageInput(network.input.size, network.input.crop, network.input.antialias)


@dataclass(eq=False)
class Training:
    """A run at some step.

    Args:
        network: maps images of 0 to 1 to scores; its ``input`` is an ``ImageInput``. It is trained in place.
        data: images.
        settings: the settings of the run.
        loss: mean loss of scores and labels; cross-entropy with smoothed labels by default.
    """

    network: nn.Module
    data: Dataset
    settings: Settings
    loss: nn.Module = field(default_factory=lambda: CrossEntropyLoss(label_smoothing=SMOOTHING))

    def __post_init__(self) -> None:
        self.network.to(self.settings.device)
        self.resized = resizing(self.network)
        parameters, rate = list(self.network.parameters()), self.settings.rate
        self.optimizer = torch.optim.SGD(
            parameters, lr=rate, momentum=MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY
        )
        self.steps_per_epoch = math.ceil(len(self.data.training) / self.settings.batch)
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer,
            rate,
            total_steps=self.settings.epochs * self.steps_per_epoch,
            pct_start=RISE,
            div_factor=BEGIN,
            cycle_momentum=False,
        )
        self.like = parameters[0]
        self.losses: list[float] = []  # of every step
        self.epochs: list[Epoch] = []
        self.seen = _Seen()
        self.random: dict[str, Tensor] = {}
        with self._random_numbers():
            torch.manual_seed(self.settings.seed)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return len(self.epochs) == self.settings.epochs

    @property
    def accuracy(self) -> float:
        """Share of the test images classified correctly after the last epoch."""
        return self.epochs[-1].test_right / len(self.data.test)

    def step(self) -> None:
        """Train on the next batch; after an epoch's last batch, evaluate the test images."""
        chosen = self._batch()
        labels = self.data.training.labels[chosen].to(self.like.device)
        with self._random_numbers():
            images = self._moved(self.data.training.images(chosen, self.like))
            value, right = self._learn(images, labels)
        self.losses.append(value)
        self.seen.steps += 1
        self.seen.images += len(chosen)
        self.seen.loss += value * len(chosen)
        self.seen.right += right
        if self.seen.steps == self.steps_per_epoch:
            self._end_epoch()

    def _batch(self) -> Tensor:
        """Positions of the next batch's images."""
        size, place = self.settings.batch, self.seen.steps
        shuffled = order(len(self.data.training), self.settings.seed, len(self.epochs))
        return shuffled[place * size : (place + 1) * size]

    def _learn(self, images: Tensor, labels: Tensor) -> tuple[float, int]:
        """One gradient step; returns the loss before it, and how many images were classified correctly."""
        self.network.train()
        self.optimizer.zero_grad()
        scores = self.network(images)
        loss = self.loss(scores, labels)
        value = loss.item()
        if not math.isfinite(value):
            place = f"epoch {len(self.epochs) + 1}, step {self.seen.steps + 1}"
            raise ValueError(
                f"rate={self.settings.rate!r}: must keep the loss finite, it is {value} in {place}; use a smaller rate"
            )
        loss.backward()
        self.optimizer.step()
        self.scheduler.step()
        return value, int((scores.argmax(1) == labels).sum())

    def _end_epoch(self) -> None:
        loss, right = self.tested()
        self.epochs.append(Epoch(self.seen.loss / self.seen.images, self.seen.right, loss, right))
        self.seen = _Seen()

    def tested(self) -> tuple[float, int]:
        """Mean loss over the test images, and how many are classified correctly."""
        total, right, test = 0.0, 0, self.data.test
        self.network.eval()
        with torch.no_grad():
            for begin in range(0, len(test), AT_ONCE):
                places = slice(begin, begin + AT_ONCE)
                labels = test.labels[places].to(self.like.device)
                scores = self.network(test.images(places, self.like))
                total += self.loss(scores, labels).item() * len(labels)
                right += int((scores.argmax(1) == labels).sum())
        return total / len(test), right

    def _moved(self, images: Tensor) -> Tensor:
        """Images in the size of the first convolution's input, each moved at random."""
        asked = self.settings
        if not (asked.turn or asked.zoom or asked.shift):
            return images
        return moved(self.resized(images), drawn_moves(len(images), asked.turn, asked.zoom, asked.shift))

    # States ---------------------------------------------------------------------------------------------------------

    @contextmanager
    def _random_numbers(self) -> Iterator[None]:
        """Draw from the run's own states; those of the process are restored."""
        on_gpu = self.settings.device == "cuda"
        with torch.random.fork_rng(devices=[torch.cuda.current_device()] if on_gpu else []):
            if self.random:
                torch.set_rng_state(self.random["cpu"])
            if self.random and on_gpu:
                torch.cuda.set_rng_state(self.random["cuda"])
            yield
            self.random = {"cpu": torch.get_rng_state()} | ({"cuda": torch.cuda.get_rng_state()} if on_gpu else {})

    def state_dict(self) -> dict[str, Any]:
        """Everything on which the next step depends, and the results so far; the content of a checkpoint."""
        return {
            "settings": asdict(self.settings),
            "data": {
                "digest": self.data.digest,
                "classes": list(self.data.classes),
                "channels": self.data.channels,
            },
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "random": self.random,
            "losses": self.losses,
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "seen": asdict(self.seen),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state.

        Raises:
            ValueError: it belongs to a run with other settings or images.
        """
        for name, value in asdict(self.settings).items():
            if state["settings"][name] != value:
                raise _refused(f"{name}={value!r}", repr(state["settings"][name]))
        if state["data"]["digest"] != self.data.digest:
            raise _refused(f"data={self.data.digest!r} (a digest)", f"other images, {state['data']['digest']!r}")
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(deepcopy(state["optimizer"]))  # it would keep these tensors without a copy
        self.scheduler.load_state_dict(state["scheduler"])
        self.random = dict(state["random"])
        self.losses = list(state["losses"])
        self.epochs = [Epoch(**epoch) for epoch in state["epochs"]]
        self.seen = _Seen(**state["seen"])


def _refused(asked: str, stored: str) -> ValueError:
    return ValueError(
        f"{asked}: a run goes on with the settings it began with, and the checkpoint's has {stored}; "
        "give the same, start anew with --fresh, or train in another folder with --into"
    )


def train(
    training: Training,
    save: Callable[[Training], None],
    every: float = 30.0,
    watch: Callable[[Training], None] = lambda training: None,
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Train to the end, or until stopped.

    Args:
        training: the run.
        save: saves its state; called after every epoch, when stopped, and at intervals.
        every: seconds between saves; 0 saves after every step.
        watch: called after every step.
        stopped: called after every step; True stops the run.

    Raises:
        ValueError: ``every`` is negative, or the loss is not finite.
    """
    if not every >= 0:
        raise ValueError(f"every={every!r}: must be at least 0; it is the seconds between checkpoints")
    saved = time.monotonic()
    while not training.finished:
        training.step()
        watch(training)
        stop = stopped()
        if stop or training.seen.steps == 0 or time.monotonic() - saved >= every:
            save(training)
            saved = time.monotonic()
        if stop:
            return

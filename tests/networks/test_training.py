"""Training: the first steps and the final accuracy agree with PyTorch's layers; every bit follows from the seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import nn

from svertka.generated import runtime
from svertka.networks import LeNet5
from svertka.networks.data import Dataset, Examples, digits, order
from svertka.networks.training import SMOOTHING, Settings, Training, built, train

from ..generated.agreement import equal
from .enclosure import Enclosure
from .few import Small, few, run, same, small_run
from .twin import twin


def pair(data: Dataset, settings: Settings) -> tuple[Training, Training]:
    """The same run with generated layers and with PyTorch's, in float64."""
    network = built(LeNet5, data, settings.seed).double()
    theirs = Training(twin(network), data, settings, nn.CrossEntropyLoss(label_smoothing=SMOOTHING))
    return Training(network, data, settings), theirs


# Comparison with PyTorch's layers


def dequantized(examples: Examples) -> Examples:
    """The images with values between their 17 levels, so that no two windows of a background tie."""
    noise = torch.randint(0, 15, examples.pixels.shape, generator=torch.Generator().manual_seed(7))
    return Examples(examples.pixels * 15 + noise.to(torch.uint8), examples.labels)


@pytest.fixture(scope="module")
def noisy() -> Dataset:
    data = digits()
    return replace(data, training=dequantized(data.training))


STILL = {"turn": 0.0, "zoom": 0.0, "shift": 0.0}
FEW = Settings(batch=5, seed=3, **STILL)


def enclosed(training: Training) -> Enclosure:
    """Bounds of the parameters, which are known exactly now."""
    known = dict(training.network.named_parameters())
    states = training.optimizer.state
    momenta = {name: states[p]["momentum_buffer"] for name, p in known.items() if p in states}
    return Enclosure(training.network, SMOOTHING, momenta)


def moved(enclosure: Enclosure, training: Training) -> None:
    """The bounds after the next step of a run."""
    settings, data = training.settings, training.data
    begin = training.seen.steps * settings.batch
    chosen = order(len(data.training), settings.seed, 0)[begin : begin + settings.batch]
    options = training.optimizer.param_groups[0]
    enclosure.step(data.training.images(chosen, training.like), data.training.labels[chosen], options)


def test_the_twin_is_pytorch_s() -> None:
    """It has no generated layer, and it begins with the same parameters."""
    network = LeNet5(mean=[0.3], std=[0.4])
    theirs = twin(network)
    assert same(dict(theirs.state_dict()), dict(network.state_dict()))
    for module in theirs.modules():
        assert not type(module).__module__.startswith("svertka.generated")
    kinds = [type(module).__name__ for module in theirs.modules() if type(module).__module__.startswith("torch")]
    assert {"Conv2d", "ReLU", "MaxPool2d", "Linear"} <= set(kinds)


@pytest.mark.slow
def test_the_first_two_steps_stay_within_the_bound(noisy: Dataset) -> None:
    """From the same initial parameters both runs lie in one enclosure, which is passed on from step to step."""
    ours, theirs = pair(noisy, FEW)
    enclosure = enclosed(ours)
    for _ in range(2):
        moved(enclosure, ours)
        run(ours, 1)
        run(theirs, 1)
        assert enclosure.reached(ours.network) <= 1
        assert enclosure.reached(theirs.network) <= 1


def test_each_further_step_stays_within_the_bound(noisy: Dataset) -> None:
    """From the same state at each step, momentum included, both runs lie in one enclosure."""
    ours, theirs = pair(noisy, FEW)
    run(ours, 1)
    for _ in range(3):
        theirs.load_state_dict(ours.state_dict())
        assert theirs.optimizer.state_dict()["state"]
        enclosure = enclosed(ours)
        moved(enclosure, ours)
        run(ours, 1)
        run(theirs, 1)
        assert enclosure.reached(ours.network) <= 1
        assert enclosure.reached(theirs.network) <= 1


def weight_decay(training: Training) -> None:
    training.optimizer.param_groups[0]["weight_decay"] *= 0.99


def nesterov(training: Training) -> None:
    training.optimizer.param_groups[0]["nesterov"] = False


def float32(training: Training) -> None:
    training.network.float()


def pooling(training: Training) -> None:
    training.network.get_submodule("features.pool2").forward = lambda x: nn.functional.avg_pool2d(x, 2)  # type: ignore[method-assign]


def loss(training: Training) -> None:
    training.loss = nn.CrossEntropyLoss(label_smoothing=SMOOTHING + 1e-5)


@pytest.mark.thinned(5)
@pytest.mark.parametrize("fault", [weight_decay, nesterov, float32, pooling, loss])
def test_the_bound_tells_faults(fault: Callable[[Training], None], noisy: Dataset) -> None:
    """A hundredth of the weight decay, Nesterov's term of the momentum, float32, another layer, another loss."""
    ours, theirs = pair(noisy, FEW)
    enclosure = enclosed(ours)
    moved(enclosure, ours)
    fault(theirs)
    run(theirs, 1)
    assert enclosure.reached(theirs.network) > 1


@pytest.mark.slow
def test_both_end_at_the_same_accuracy() -> None:
    """All epochs on all digits, in float64: equal numbers of correct test images after every epoch, 98 % at the end."""
    ours, theirs = (run(training) for training in pair(digits(), Settings()))
    assert [epoch.test_right for epoch in ours.epochs] == [epoch.test_right for epoch in theirs.epochs]
    assert [epoch.training_right for epoch in ours.epochs] == [epoch.training_right for epoch in theirs.epochs]
    assert ours.accuracy >= 0.98
    assert ours.epochs[0].test_right < ours.epochs[-1].test_right


# Bits


def test_the_same_seed_gives_the_same_bits() -> None:
    """Of parameters, momentum, curves; independent of random numbers drawn elsewhere before."""
    first = run(small_run(seed=5)).state_dict()
    torch.manual_seed(99)
    assert same(run(small_run(seed=5)).state_dict(), first)


def test_another_seed_differs() -> None:
    one, other = (run(small_run(seed=seed), 1) for seed in (5, 6))
    assert not same(one.network.state_dict(), other.network.state_dict())
    assert one.losses != other.losses


@pytest.mark.parametrize("steps", [0, 1, 4, 6, 11])
def test_a_run_that_goes_on_ends_in_the_same_bits(steps: int) -> None:
    """At the beginning, within an epoch, between two, before the last step; dropout and shifts continue as well."""
    expected = run(small_run()).state_dict()
    other = small_run()
    other.load_state_dict(run(small_run(), steps).state_dict())
    assert len(other.losses) == steps
    assert same(run(other).state_dict(), expected)


def test_every_part_of_a_state_matters() -> None:
    """Without it the run ends with another state, so the test above can fail."""
    expected = run(small_run()).state_dict()
    start, half = small_run(), run(small_run(), 6).state_dict()
    parts = [name for name in half if name not in ("settings", "data")]
    for name in parts:
        other = small_run()
        other.load_state_dict({**half, name: start.state_dict()[name]})
        try:
            ended = run(other, 24).state_dict()
        except ValueError:  # the schedule reaches its end too early
            continue
        assert not same(ended, expected), name


def test_the_process_s_random_numbers_stay() -> None:
    state = torch.get_rng_state()
    run(small_run(), 2)
    equal(torch.get_rng_state(), state)


def test_stopping_saves_and_returns() -> None:
    """After the current step; the run then continues to the same bits."""
    training, saved = small_run(), []
    train(training, saved.append, every=1e9, stopped=lambda: len(training.losses) == 6)
    assert (len(training.losses), len(training.epochs), len(saved)) == (6, 1, 2)
    assert not training.finished
    train(training, saved.append, every=1e9)
    assert same(training.state_dict(), run(small_run()).state_dict())


def test_a_state_is_saved_after_every_epoch_and_in_time() -> None:
    for every, count in ((1e9, 3), (0.0, 12)):
        saved: list[Training] = []
        train(small_run(), saved.append, every=every)
        assert len(saved) == count


# The effect of a step


def test_every_image_is_seen_once_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    training, seen = small_run(**STILL), []
    training.network.register_forward_pre_hook(lambda _, images: seen.append(images[0]))
    for _ in range(training.steps_per_epoch - 1):
        training.step()
    monkeypatch.setattr(training, "tested", lambda: (0.0, 0))
    training.step()
    assert [len(images) for images in seen] == [7, 7, 7, 2]
    expected = training.data.training.images(slice(0, None), training.like)
    rows = [sorted(image.numpy().tobytes() for image in images) for images in (torch.cat(seen), expected)]
    assert rows[0] == rows[1]


def test_each_image_is_moved_every_time() -> None:
    """No two epochs have the same images, and every image moves; without moves they are unchanged."""
    training = small_run()
    plain = training.data.training.images(slice(0, None), training.like)
    one, other = (training._moved(plain) for _ in range(2))
    for first, second, still in zip(one, other, training.resized(plain), strict=True):
        assert not same(first, second)
        assert not same(first, still)
    assert small_run(turn=0.0, zoom=0.0, shift=0.0)._moved(plain) is plain


def test_the_figures_of_an_epoch_are_its_images() -> None:
    """Counted one by one with a network that is not trained."""
    data = few()
    settings = Settings(network="small", epochs=1, batch=7, rate=1e-300, **STILL)
    network = built(Small, data, 0).eval()
    network.train = lambda mode=True: network  # type: ignore[method-assign] # no dropout
    training = run(Training(network, data, settings))
    for examples, right in (
        (data.training, training.epochs[0].training_right),
        (data.test, training.epochs[0].test_right),
    ):
        guesses = network(examples.images(slice(0, None), training.like)).argmax(1)
        assert right == int((guesses == examples.labels).sum())
    assert training.accuracy == training.epochs[0].test_right / 11


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("epochs", 0, ("at least 1", "passes")),
        ("batch", -3, ("at least 1", "images a step")),
        ("rate", 0.0, ("positive and finite", "0.03")),
        ("rate", float("nan"), ("positive and finite", "0.03")),
        ("turn", 181.0, ("between 0 and 180", "degrees")),
        ("zoom", 1.0, ("at least 0 and below 1", "share")),
        ("shift", 0.75, ("between 0 and 0.5", "share")),
        ("seed", -1, ("between 0 and", "any of these")),
        ("device", "tpu", ("cpu or cuda", "cpu runs everywhere")),
    ],
)
def test_wrong_settings_are_refused(name: str, value: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=rf"^{name}={value!r}: must be ") as error:
        Settings(**{name: value})
    for word in words:
        assert word in str(error.value)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"^device='cuda': must be .* finds no GPU; use cpu"):
        Settings(device="cuda")


OTHERS = {"network": "other", "epochs": 4, "batch": 8, "rate": 0.04, "turn": 1.0, "zoom": 0.2, "shift": 0.1, "seed": 1}


@pytest.mark.parametrize("name", [field.name for field in fields(Settings) if field.name != "device"])
def test_going_on_with_another_setting_is_refused(name: str) -> None:
    training = small_run()
    before = training.state_dict()
    with pytest.raises(ValueError, match=rf"^{name}={before['settings'][name]!r}: .* {OTHERS[name]!r}; .*--fresh"):
        training.load_state_dict({**before, "settings": {**before["settings"], name: OTHERS[name]}})


def test_going_on_with_other_images_is_refused() -> None:
    training = small_run()
    other = Training(training.network, few(22), training.settings)
    with pytest.raises(ValueError, match=r"^data='[0-9a-f]+' .* other images, .*--fresh"):
        training.load_state_dict(other.state_dict())


def test_a_loss_that_is_not_finite_stops_the_run() -> None:
    """Before any parameter changes."""
    training = small_run(rate=1e30)
    with pytest.raises(ValueError, match=r"^rate=1e\+30: must keep the loss finite, .* epoch 1, step 2; use a smaller"):
        run(training)
    assert len(training.losses) == 1
    assert all(parameter.isfinite().all() for parameter in training.network.parameters())


# On a GPU


@pytest.mark.skipif(not torch.cuda.is_available() or runtime.INTERPRETED, reason="kernels run where there is a GPU")
def test_kernels_train_as_the_reference() -> None:
    """The same bits twice, also when continued from a checkpoint; all digits to 98 %."""
    settings = {"device": "cuda"}
    expected = run(small_run(**settings)).state_dict()
    other = small_run(**settings)
    other.load_state_dict(run(small_run(**settings), 6).state_dict())
    assert same(run(other).state_dict(), expected)
    data = digits()
    assert run(Training(built(LeNet5, data, 0), data, Settings(device="cuda"))).accuracy >= 0.98

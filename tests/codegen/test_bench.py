"""Benchmarks without a GPU: fewer examples, and kernels that do nothing to measure the host's part of a call."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from triton.compiler.errors import CompilationError
from triton.runtime.errors import OutOfResources, PTXASError

from svertka.codegen.machine.bench import measure as measuring
from svertka.codegen.machine.bench import timing
from svertka.codegen.machine.bench.idle import idle_kernels
from svertka.codegen.machine.bench.launched import meta_tensors, passes
from svertka.codegen.machine.bench.measure import Limits, Problem, Row, backward_seconds, measure, measure_all
from svertka.codegen.machine.bench.report import settings
from svertka.codegen.machine.bench.verify import Verdict
from svertka.codegen.machine.bench.workload import Link, Road, Workload, in_phase, roads, shrunk, workloads
from svertka.generated import functional, plans, runtime

LIMITS = Limits(1e9, 1e9)


def workload(function: str = "relu", shape: tuple[int, ...] = (3, 5), dtype: str = "float32", **more: Any) -> Workload:
    shapes = {"input": shape, **more.pop("shapes", {})}
    kind = more.pop("kind", "memory")
    return Workload(function, kind, function, shapes, {}, dtype, "row_major", True, function, {}, **more)


def test_nothing_is_computed_and_all_is_put_back() -> None:
    before = runtime.INTERPRETED, plans.ENABLED, dict(plans._PLANS)
    x = torch.linspace(-2, 3, 24).view(4, 6).requires_grad_()
    with idle_kernels():
        for _ in range(2):
            output = functional.relu(x)
            (gradient,) = torch.autograd.grad(output, x, torch.ones_like(output))
        assert output.shape == gradient.shape == x.shape
        assert len(plans._PLANS) == 2  # forward and backward, recorded once
        assert None not in plans._PLANS.values()
    assert before == (runtime.INTERPRETED, plans.ENABLED, plans._PLANS)
    assert torch.equal(functional.relu(x), x.clamp(min=0))


@pytest.mark.slow
def test_the_command_tells_that_launches_did_nothing(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "svertka.codegen", "bench", "--kind", "launch", "--only", "relu"]
    done = subprocess.run(
        [*command, "--into", str(tmp_path)], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("*.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["settings"]["host"] == "times of launching kernels that do nothing"
    (row,) = content["rows"]
    assert row["direction"] == "host"
    assert 0 < row["limit"] < row["seconds"]["svertka"]  # the cost of a call that computes nothing
    assert min(row["seconds"].values()) > 0


@pytest.mark.parametrize("small", [False, True], ids=["whole", "shrunk"])
def test_every_workload_is_a_call(small: bool) -> None:
    """On tensors without data: shapes and arguments fit, also those for a machine without a GPU."""
    names = set()
    for workload in workloads():
        chosen = shrunk(workload) if small else workload
        result = roads(chosen, compiled=False)[0](meta_tensors(chosen))
        assert result.is_meta
        names.add(workload.name)
    assert len(names) > 50


# Workloads ------------------------------------------------------------------------------------------------------------


def test_phases_of_a_short_run() -> None:
    """Each phase has a unique order except for dtypes of a row; default: bfloat16 and channels_last."""
    phases = {name: in_phase(name) for name in ("benchmark", "compile", "tune")}
    assert (len(phases["benchmark"]), len(phases["compile"])) == (45, 14)
    for name, found in phases.items():
        places = {(w.phases[name], w.name) for w in found}
        assert sorted(place for place, _ in places) == list(range(1, len(places) + 1))
        assert all(len(w.shapes["input"]) < 4 or w.layout == "channels_last" for w in found if w.kind != "launch")
    assert {w.dtype for w in phases["compile"]} == {w.dtype for w in phases["tune"]} == {"bfloat16"}
    whole = [w for w in phases["benchmark"] if w.name == "vgg16 256->256 3x3/1 at 56 x64"]
    assert {w.dtype for w in whole} == {"bfloat16", "float16", "tf32", "float32"}
    with pytest.raises(ValueError, match="'now': there is no such phase"):
        in_phase("now")


def test_launches_of_tf32_are_recorded_as_tf32() -> None:
    found = {w.dtype: w for w in in_phase("benchmark") if w.name == "vgg16 256->256 3x3/1 at 56 x64"}
    for dtype, expected in (("tf32", "tf32"), ("float32", "ieee")):
        small = replace(found[dtype], shapes={"input": (2, 32, 6, 7), "weight": (48, 32, 3, 3)})
        every = [one for p in passes(small, "sm_90") for one in p.launches if "PRECISION" in one.constants]
        assert {one.constants["PRECISION"] for one in every} == {expected}


# torch.compile --------------------------------------------------------------------------------------------------------


def test_every_workload_is_compiled_and_none_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """For one function, many more than dynamo compiles of one code object."""
    torch._dynamo.reset()
    graphs = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    options = {"backend": backend, "dynamic": False}
    count = torch._dynamo.config.recompile_limit + 4
    assert count > 10
    for width in range(count):
        chosen = workload(shape=(2, width + 1))
        *_, road = roads(chosen, True, options)
        tensors = chosen.tensors("cpu")
        with torch.no_grad():
            assert torch.equal(road(tensors), tensors["input"].clamp(min=0))
        assert len(graphs) == width + 1
    fused = workload(shapes={"weight": (5, 5)}, chain=(Link("linear", {"weight": "weight"}), Link("relu")))
    *_, road = roads(fused, True, options)
    tensors = fused.tensors("cpu")
    assert torch.equal(road(tensors), (tensors["input"] @ tensors["weight"].T).clamp(min=0))
    torch._dynamo.reset()


def test_a_road_that_would_fall_back_has_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph break, and a function that is recompiled more often than dynamo allows."""
    options = {"backend": "eager", "dynamic": False}

    def breaking(input: torch.Tensor) -> torch.Tensor:
        torch._dynamo.graph_break()
        return torch.relu(input)

    monkeypatch.setattr(torch.nn.functional, "breaking", breaking, raising=False)
    rows = measure(replace(workload(), baseline="breaking"), LIMITS, "cpu", True, budget=0.001, options=options)
    assert [row.direction for row in rows] == ["forward", "backward"]
    for row in rows:
        assert row.seconds.keys() == {"svertka", "eager"}
        assert row.failed.keys() == {"compile"}
        assert "graph" in row.failed["compile"].lower()
        json.dumps(row.data())
    *_, road = roads(workload(), True, options)
    with torch._dynamo.config.patch(recompile_limit=1), torch.no_grad():
        road({"input": torch.ones(2, 3)})
        with pytest.raises(torch._dynamo.exc.FailOnRecompileLimitHit, match="fullgraph"):
            road({"input": torch.ones(4, 3)})
    torch._dynamo.reset()


# Precision ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "expected"), [("tf32", ("high", True)), ("float32", ("highest", False))])
def test_everything_of_a_workload_runs_in_its_precision(
    dtype: str, expected: tuple[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checks, both roads, forward and backward, and the count of bytes; with any previous setting of torch."""
    seen: list[tuple[str, Any]] = []

    class Asking(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
            seen.append(("forward", _settings()))
            return x @ weight.T

        @staticmethod
        def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
            seen.append(("backward", _settings()))
            return gradients[0].new_zeros(3, 5), gradients[0].new_zeros(5, 5)

    def _settings() -> tuple[str, bool]:
        return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32

    def road(input: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = Asking.apply(input, weight)  # type: ignore[no-untyped-call]
        return result

    def judged(*given: Any) -> Any:
        seen.append(("check", _settings()))
        return Verdict((), "")

    both = [Road("svertka", road, {}), Road("eager", road, {})]
    monkeypatch.setattr(measuring, "roads", lambda *given: both)
    monkeypatch.setattr(measuring, "judged", judged)
    before = _settings()
    chosen = workload("linear", dtype=dtype, shapes={"weight": (5, 5)}, kind="matrix")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(measuring, "seconds", lambda call, inputs, device, budget: float(call(inputs[0]) is not None))
    monkeypatch.setattr(Workload, "tensors", _on_cpu(Workload.tensors))
    monkeypatch.setattr(measuring, "copies", lambda size, device: 1)
    rows = measure(chosen, LIMITS, "cuda", False)
    assert [row.direction for row in rows] == ["forward", "gradient of input", "gradient of weight"]
    assert {what for what, _ in seen} == {"check", "forward", "backward"}
    assert {how for _, how in seen} == {expected}
    assert _settings() == before


def _on_cpu(tensors: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, device, seed=0: tensors(self, "cpu", seed)


# Failures and killed runs ---------------------------------------------------------------------------------------------


FAILURES = [
    OutOfResources(300000, 232448, "shared memory"),
    CompilationError("tl.dot(a, b)", None, "shapes differ"),
    PTXASError("ptxas fatal"),
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    TypeError("a launcher's"),
]


def test_whatever_a_compiler_or_driver_raises_ends_one_workload(monkeypatch: pytest.MonkeyPatch) -> None:
    """The class is named; the others run; each is reported before the next begins."""
    told: list[Row | Problem] = []
    done: list[str] = []
    counts: list[int] = []

    def failing(chosen: Workload, *given: Any) -> list[Road]:
        counts.append(len(told))
        place = int(chosen.name)

        def road(input: torch.Tensor) -> torch.Tensor:
            if place < len(FAILURES):
                raise FAILURES[place]
            return input * 2

        return [Road("svertka", road, {}), Road("eager", road, {})]

    monkeypatch.setattr(measuring, "roads", failing)
    every = [replace(workload(), name=str(place)) for place in (5, *range(5), 6)]
    rows, problems = measure_all(every, LIMITS, "cpu", False, done.append, report=told.append, budget=0.001)
    assert [(row.name, row.direction) for row in rows] == [(n, d) for n in "56" for d in ("forward", "backward")]
    names = [type(error).__name__ for error in FAILURES]
    assert [text.partition(":")[0] for text in problems.values()] == names
    assert [one.error for one in told if isinstance(one, Problem)] == names
    assert counts == [0, 2, 3, 4, 5, 6, 7]
    assert done == [w.name for w in every]
    assert told == [*rows[:2], *(one for one in told if isinstance(one, Problem)), *rows[2:]]


KILLED = """
import os, signal, sys
from svertka.codegen.machine.bench import measure
from svertka.codegen.command import main
plain = measure.measured
def measured(workload, *given, **named):
    if "batch_norm" in workload.name:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(workload, *given, **named)
measure.measured = measured
sys.argv = ["svertka", "bench", "--kind", "launch", "--into", sys.argv[1]]
main()
"""


@pytest.mark.slow
def test_a_killed_run_leaves_what_it_measured(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert "7 workloads on cpu" in done.stderr
    (path,) = tmp_path.iterdir()
    first, *rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert first["settings"]["timing"] == settings("cpu")["timing"]
    finished = [w.name for w in workloads(False, ("launch",))][:2]
    assert [row["row"]["name"] for row in rows] == finished
    assert all(f"{name} float32 row_major host" in done.stderr for name in finished)


# Time -----------------------------------------------------------------------------------------------------------------


class Machine:
    """A simulated host and GPU with a clock: seconds of a call on either, and whether a call waits for the GPU."""

    def __init__(self, host: float, gpu: float, waits: bool = False) -> None:
        self.host, self.gpu, self.waits = host, gpu, waits
        self.now, self.busy_until = 0.0, 0.0
        self.log: list[tuple[str, bool]] = []  # what was enqueued, and whether the GPU was idle then

    def note(self, what: str, seconds: float = 0.0) -> float:
        self.log.append((what, self.busy_until <= self.now))
        self.busy_until = max(self.busy_until, self.now) + seconds
        return self.busy_until

    def perf_counter(self) -> float:
        return self.now

    def synchronize(self) -> None:
        self.now = max(self.now, self.busy_until)

    def sleep(self, cycles: int) -> None:
        self.note("sleep", cycles / timing.CYCLES)

    def call(self, given: Any) -> None:
        self.now += self.host
        self.note("call", self.gpu)
        if self.waits:
            self.synchronize()

    def event(self, enable_timing: bool) -> Any:
        machine = self

        class Event:
            def record(self) -> None:
                self.at = machine.note("event")

            def query(self) -> bool:
                return self.at <= machine.now

            def synchronize(self) -> None:
                machine.now = max(machine.now, self.at)

            def elapsed_time(self, end: Any) -> float:
                return float(end.at - self.at) * 1e3

        return Event()

    def measured(self, monkeypatch: pytest.MonkeyPatch, budget: float = 0.05) -> float:
        named: Mapping[str, Any] = {"Event": self.event, "synchronize": self.synchronize, "_sleep": self.sleep}
        for name, value in named.items():
            monkeypatch.setattr(torch.cuda, name, value)
        monkeypatch.setattr("svertka.codegen.machine.bench.timing.time.perf_counter", self.perf_counter)
        return timing.seconds(self.call, [0, 1, 2], "cuda", budget)


@pytest.mark.parametrize(("host", "gpu"), [(1e-4, 1e-6), (1e-5, 1e-3), (3e-5, 3e-5), (1e-3, 1e-5)])
def test_the_hosts_part_of_a_call_is_not_measured(host: float, gpu: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The GPU is put to sleep before each first event, and is never idle from then to the last event."""
    machine = Machine(host, gpu)
    assert machine.measured(monkeypatch) == pytest.approx(gpu)
    events = [place for place, (what, _) in enumerate(machine.log) if what == "event"]
    assert len(events) >= 2 * timing.BATCHES
    for begin, end in zip(events[::2], events[1::2], strict=True):
        assert machine.log[begin - 1][0] == "sleep"
        assert [idle for _, idle in machine.log[begin : end + 1]] == [False] * (end + 1 - begin)
        assert 1 <= end - begin - 1 <= timing.MOST_CALLS


def test_a_host_that_is_slower_than_it_was_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that the GPU reached too early does not count."""
    machine = Machine(1e-5, 2e-6)
    plain, calls = machine.call, []

    def call(given: Any) -> None:
        calls.append(given)
        machine.host = 1e-3 if 4 < len(calls) < 12 else 1e-5
        plain(given)

    monkeypatch.setattr(machine, "call", call)
    assert machine.measured(monkeypatch) == pytest.approx(2e-6)


def test_a_call_that_waits_for_the_gpu_has_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="waits for the GPU"):
        Machine(1e-5, 1e-4, waits=True).measured(monkeypatch)


def test_a_gradient_is_timed_without_the_others() -> None:
    """For a product: only the kernels of the requested gradient run."""
    chosen = workload("conv2d", (2, 3, 6, 7), shapes={"weight": (4, 3, 3, 3)}, kind="matrix")
    road, sets = roads(chosen, False)[0], [chosen.tensors("cpu")]
    for name, other in (("input", "weight"), ("weight", "input")):
        launched: set[str] = set()
        with idle_kernels(tell=lambda kernel, constants: launched.add(kernel)):  # noqa: B023 - called here
            backward_seconds(road, sets, [name], "cpu", 0.001)
        assert any(f"grad_{name}" in kernel for kernel in launched)
        assert not any(f"grad_{other}" in kernel for kernel in launched)

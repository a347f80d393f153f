"""Triton code that PyTorch's Inductor generates for a GPU that is not there, run on the machine.

AOTAutograd traces forward and backward on tensors of the CPU. Each graph's tensors are then replaced by fake ones "on
cuda", and Inductor generates the code of an H100 for them; only its question for the GPU's properties is answered here.
The generated module runs as it is, but for three names: buffers are made on the CPU, devices and streams are none, and
``async_compile.triton`` gives a kernel whose launches the machine runs with the grid that Inductor computes. Of several
settings of a kernel the first is taken. Where the graph calls ATen (convolutions, products), no kernel is generated,
and none is counted.

Input: a function of tensors. Output: one that runs Inductor's kernels in ``watching``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch._functorch.aot_autograd import aot_function
from torch._functorch.partitioners import min_cut_rematerialization_partition
from torch._guards import detect_fake_mode
from torch._inductor import compile_fx, config, scheduler
from torch._inductor.async_compile import AsyncCompile
from torch._inductor.codecache import PyCodeCache
from torch._inductor.compile_fx import compile_fx_inner, select_decomp_table
from torch._inductor.exc import InductorError
from torch._inductor.fx_passes.joint_graph import joint_graph_passes
from torch._inductor.graph import GraphLowering
from torch._inductor.runtime.hints import DeviceProperties
from torch._inductor.runtime.triton_heuristics import GridExpr
from torch._inductor.virtualized import V
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.passes.fake_tensor_prop import FakeTensorProp
from triton.runtime import driver as triton_driver

from svertka.codegen.machine.compiling import gpu_target
from svertka.codegen.ptx.foreign import launch
from svertka.codegen.ptx.launch import PROCESSORS, Executed

__all__ = ["inductor", "watching"]

DEVICE = torch.device("cuda:0")
NO_AMD = {"minor": 0, "gcnArchName": ""}
OF_GPU = {
    "torch._C._dynamo.guards._empty_strided_cuda": "torch._C._dynamo.guards._empty_strided_cpu",
    "from torch._C import _cuda_getCurrentRawStream as get_raw_stream": "get_raw_stream = int",
    "torch.cuda._DeviceGuard(0)": "__import__('contextlib').nullcontext()",
    "torch.cuda.set_device(0)": "pass",
    "triton_helpers.set_driver_to_gpu()": "pass",
    "device(type='cuda', index=0)": "device(type='cpu')",
}
"""What generated code says of its device, and what stands there instead."""
WATCHED: list[Executed] = []


def properties(compute: int) -> DeviceProperties:
    """What Inductor asks of a GPU, as NVIDIA's data sheets of the A100 and the H100 have it."""
    return DeviceProperties(
        type="cuda",
        index=0,
        multi_processor_count={80: 108}.get(compute, PROCESSORS),
        cc=compute,
        major=compute // 10,
        regs_per_multiprocessor=65536,
        max_threads_per_multi_processor=2048,
        max_threads_per_block=1024,
        warp_size=32,
    )


class _Kernel:
    """A kernel of a generated module."""

    def __init__(self, name: str, source: str) -> None:
        self.tuner = getattr(PyCodeCache.load(source), name)

    def run(self, *arguments: Any, **unused: Any) -> None:
        """Launch it in ``watching``."""
        setting = self.tuner.configs[0]
        names = [name for name in self.tuner.fn.arg_names if name not in setting.kwargs]
        given = dict(zip(names, arguments, strict=False))
        fixed = self.tuner.triton_meta.get("constants", {})
        meta = {**given, **setting.kwargs, "num_warps": setting.num_warps}
        grid = GridExpr.from_meta(self.tuner.inductor_meta, setting).eval_slow(meta)
        options = {**fixed, **setting.kwargs, "num_warps": setting.num_warps, "num_stages": setting.num_stages}
        launch(self.tuner.fn, grid, (), {**given, **options}, WATCHED[-1])


@contextmanager
def watching(target: str) -> Iterator[Executed]:
    """Run and count launches of generated modules."""
    done = Executed(target, foreign=True, counting=True)
    WATCHED.append(done)
    try:
        yield done
    finally:
        WATCHED.pop()


def inductor(function: Callable[..., torch.Tensor], target: str) -> Callable[..., torch.Tensor]:
    """The function, compiled for ``target`` when it is first called, forward and backward."""

    def compiled(graph: torch.fx.GraphModule, examples: Sequence[torch.Tensor]) -> Any:
        call = _module(_source(graph, examples, target)).call
        return _boxed(lambda given: call(list(given)))

    return aot_function(  # type: ignore[no-any-return]
        function,
        fw_compiler=compiled,
        bw_compiler=compiled,
        partition_fn=_partitioned,
        decompositions=select_decomp_table(),
    )


def _partitioned(joint: torch.fx.GraphModule, inputs: Any, **options: Any) -> Any:
    """Forward and backward, cut where Inductor cuts them."""
    with V.set_fake_mode(detect_fake_mode(inputs)):
        joint_graph_passes(joint)
    return min_cut_rematerialization_partition(joint, inputs, compiler="inductor", **options)


def _boxed(call: Callable[[Any], Any]) -> Any:
    vars(call)["_boxed_call"] = True
    return call


def _source(graph: torch.fx.GraphModule, examples: Sequence[torch.Tensor], target: str) -> str:
    """The module that Inductor generates for a graph on a GPU."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    there = [_there(example, mode) for example in examples]
    for node in graph.graph.nodes:
        node.args = tuple(DEVICE if isinstance(value, torch.device) else value for value in node.args)
        node.kwargs = {**node.kwargs, **({"device": DEVICE} if "device" in node.kwargs else {})}
    compute = int(target.removeprefix("sm_"))

    made: list[str] = []

    def stop(lowering: GraphLowering) -> Any:
        made.append(lowering.codegen()[0].value)
        raise RuntimeError("the source is all that is wanted")

    asked = {
        "get_device_properties": lambda *unused: SimpleNamespace(**properties(compute)._asdict(), **NO_AMD),
        "get_device_capability": lambda *unused: divmod(compute, 10),
        "current_device": lambda: 0,
    }
    of_gpu = mock.patch.object(DeviceProperties, "create", return_value=properties(compute))
    has_bf16 = mock.patch.object(compile_fx, "_check_triton_bf16_support")
    of_torch = mock.patch.multiple(torch.cuda, **asked)
    driver = SimpleNamespace(get_current_target=lambda: gpu_target(target), get_current_device=lambda: 0)
    of_triton = mock.patch.object(scheduler, "has_triton", return_value=True)
    of_driver = mock.patch.object(triton_driver, "_active", driver)
    stopped = mock.patch.object(GraphLowering, "compile_to_module", stop)
    with torch.no_grad(), of_gpu, has_bf16, of_torch, of_triton, of_driver, stopped, config.patch(fx_graph_cache=False):
        FakeTensorProp(graph, mode).propagate_dont_convert_inputs(*there)
        try:
            compile_fx_inner(graph, there)
        except InductorError:
            if not made:
                raise
    return made[0]


def _there(example: torch.Tensor, mode: FakeTensorMode) -> Any:
    meta = torch.empty_strided(example.shape, example.stride(), dtype=example.dtype, device="meta")
    return FakeTensor(mode, meta, DEVICE)


def _module(source: str) -> ModuleType:
    """The generated module, with what leads to the machine."""
    for there, here in OF_GPU.items():
        source = source.replace(there, here)

    def triton(unused: Any, name: str, source: str, device_str: str = "cuda") -> _Kernel:
        return _Kernel(name, source)

    waits: Mapping[str, Any] = {"triton": triton, "wait": lambda *unused: None}
    with mock.patch.multiple(AsyncCompile, **waits):
        return PyCodeCache.load(source)

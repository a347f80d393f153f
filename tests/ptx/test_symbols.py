"""Compiled kernels on expressions: what registers hold, what is refused, and that the PTX equals the formula."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from svertka.codegen.ptx.codes import LN_2, LOG2_E, Codes, simplest_32
from svertka.codegen.ptx.program import PtxError
from svertka.codegen.ptx.symbols import BITS, Symbols, UnfollowedError
from svertka.codegen.verify.symbolic.decide import decide
from svertka.codegen.verify.symbolic.graph import LOG_OF_TWO, ONE, ZERO, Graph

from .harness import LANE, Result, execute, pointer
from .test_kernels import compiled

LANES = 32
A, B, C = "abc"


def bits(value: float) -> int:
    return int(np.array([value], np.float32).view(np.uint32)[0])


def written(value: float) -> str:
    """A number as PTX writes it."""
    return f"0f{bits(value):08X}"


def run(body: str, threads: int = LANES, shared: int = 0) -> tuple[Symbols, dict[str, list[int]], list[int]]:
    """A body on three arrays of variables, in ``%r10`` to ``%r12``, whose ``%r20`` is stored.

    Returns:
        The symbols, nodes of the operands by name, and nodes of the results.
    """
    symbols = Symbols(Graph())
    nodes = {
        name: [symbols.graph.variable(f"{name}{place}", sign * (place + 1) / 8) for place in range(threads)]
        for name, sign in ((A, 1), (B, -1), (C, 0.5))
    }
    found = np.zeros(threads, np.uint32)
    text = LANE
    for place in range(3):
        text += pointer(10 + place, place, 4) + f"    ld.global.b32 %r{10 + place}, [%rd{10 + place}];\n"
    text += body + pointer(20, 3, 4) + "    st.global.b32 [%rd20], %r20;\n"
    given = [symbols.codes.of_nodes(some) for some in nodes.values()]
    execute(text, *given, Result(found), threads=threads, shared=shared, special=symbols.step)
    return symbols, nodes, symbols.codes.nodes(found)


Formula = Callable[[Graph, int, int, int], int]


def root(graph: Graph, node: int) -> int:
    return graph.power(node, graph.number(0.5))


ARITHMETIC: list[tuple[str, Formula]] = [
    ("add.f32 %r20, %r10, %r11;", lambda g, a, b, c: g.add(a, b)),
    ("sub.rn.f32 %r20, %r10, %r11;", lambda g, a, b, c: g.subtract(a, b)),
    ("mul.ftz.f32 %r20, %r10, %r11;", lambda g, a, b, c: g.multiply(a, b)),
    ("fma.rn.f32 %r20, %r10, %r11, %r12;", lambda g, a, b, c: g.add(g.multiply(a, b), c)),
    ("fma.rn.ftz.f32 %r20, %r10, 0f40400000, %r12;", lambda g, a, b, c: g.add(g.multiply(a, g.number(3)), c)),
    ("div.full.f32 %r20, %r10, %r11;", lambda g, a, b, c: g.divide(a, b)),
    ("rcp.approx.ftz.f32 %r20, %r10;", lambda g, a, b, c: g.divide(ONE, a)),
    ("sqrt.approx.f32 %r20, %r10;", lambda g, a, b, c: root(g, a)),
    ("rsqrt.approx.f32 %r20, %r10;", lambda g, a, b, c: g.divide(ONE, root(g, a))),
    ("tanh.approx.f32 %r20, %r10;", lambda g, a, b, c: g.function("tanh", a)),
    ("neg.f32 %r20, %r10;", lambda g, a, b, c: g.negate(a)),
    ("abs.f32 %r20, %r11;", lambda g, a, b, c: g.negate(b)),
    ("and.b32 %r20, %r11, 2147483647;", lambda g, a, b, c: g.negate(b)),
    ("xor.b32 %r20, %r10, -2147483648;", lambda g, a, b, c: g.negate(a)),
    ("max.f32 %r20, %r10, %r11;", lambda g, a, b, c: a),
    ("min.NaN.f32 %r20, %r10, %r11;", lambda g, a, b, c: b),
    ("max.f32 %r20, 0f7FC00000, %r11;", lambda g, a, b, c: b),
    ("setp.lt.f32 %p1, %r10, %r11; selp.f32 %r20, %r10, %r12, %p1;", lambda g, a, b, c: c),
    (f"mul.f32 %r13, %r10, 0f{LOG2_E:08X}; ex2.approx.f32 %r20, %r13;", lambda g, a, b, c: g.function("exp", a)),
    (f"lg2.approx.f32 %r13, %r10; mul.f32 %r20, %r13, 0f{LN_2:08X};", lambda g, a, b, c: g.function("log", a)),
    ("cvt.rn.f32.s32 %r13, %r0; add.f32 %r20, %r10, %r13;", lambda g, a, b, c: -1),
    ("mul.f32 %r20, %r10, 0f3EAAAAAB;", lambda g, a, b, c: g.multiply(a, g.number(1 / 3))),
]


@pytest.mark.parametrize(("body", "formula"), ARITHMETIC, ids=[body for body, _ in ARITHMETIC])
def test_an_instruction_gives_the_expression_that_it_computes(body: str, formula: Formula) -> None:
    symbols, nodes, found = run(body)
    graph = symbols.graph
    rows = list(zip(nodes[A], nodes[B], nodes[C], strict=True))
    expected = [formula(graph, *row) for row in rows]
    if "cvt" in body:
        expected = [graph.add(a, graph.number(place)) for place, (a, _, _) in enumerate(rows)]
    pairs = [(str(place), *pair) for place, pair in enumerate(zip(found, expected, strict=True))]
    assert decide(graph, pairs, 2, body, ("the instruction", "the formula")).failures == ()
    if len({*expected}) > 1:  # a test that cannot fail shows nothing: the neighbour's expression is another
        wrong = [(str(place), left, expected[place - 1]) for place, left in enumerate(found)]
        assert decide(graph, wrong, 2, body, ("the instruction", "its neighbour")).failures


@pytest.mark.parametrize("name", ["max", "min", "max.NaN", "min.NaN"])
def test_of_equal_numbers_every_lane_takes_the_same(name: str) -> None:
    """Two lanes that exchange their numbers give them in the opposite order."""
    symbols = Symbols(Graph())
    first, second = (symbols.graph.variable(one, 1.5) for one in "ab")
    take = symbols.binary[name]
    assert take(first, second) == take(second, first) in (first, second)
    other = symbols.graph.variable("c", 2.5)
    assert take(first, other) == take(other, first) == (other if name.startswith("max") else first)


def test_moves_between_threads_and_through_memory_keep_expressions() -> None:
    body = """
    mov.u32 %r30, smem;
    mad.lo.s32 %r31, %r0, 16, %r30;
    mov.b64 %rd30, {%r10, %r11};
    mov.b64 {%r32, %r33}, %rd30;
    st.shared.v4.b32 [%r31], {%r33, %r32, %r12, %r0};
    bar.sync 0;
    xor.b32 %r34, %r0, 33;
    mad.lo.s32 %r31, %r34, 16, %r30;
    ld.shared.v2.b32 {%r35, %r36}, [%r31];
    shfl.sync.bfly.b32 %r37, %r36, 4, 31, -1;
    sub.f32 %r20, %r35, %r37;
"""
    symbols, nodes, found = run(body, threads=64, shared=1024)
    graph = symbols.graph
    assert found == [graph.subtract(nodes[B][place ^ 33], nodes[A][place ^ 33 ^ 4]) for place in range(64)]


def test_what_is_made_of_bits_is_no_expression_of_a_formula() -> None:
    symbols, _, found = run("shr.u32 %r13, %r10, 1; add.s32 %r20, %r13, 532487669;")
    assert all(symbols.graph.operations[node].startswith(f"{BITS}add.s32") for node in found)
    assert len({*found}) == LANES


def test_bits_that_become_an_address_are_refused_by_the_name_of_the_instruction() -> None:
    with pytest.raises(UnfollowedError, match=r"line \d+ .*: mul\.wide\.u32 computes with the bits of a float"):
        run("mul.wide.u32 %rd30, %r10, 4; mov.b32 %r20, %r10;")
    with pytest.raises(UnfollowedError, match=r"cvt\.f64\.f32 computes with the bits of a float"):
        run("cvt.f64.f32 %rd30, %r10; mov.b32 %r20, %r10;")


def test_the_matrix_unit_is_refused() -> None:
    four, two = "{%r30, %r31, %r32, %r33}", "{%r10, %r11}"
    product = f"mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {four}, {{%r10, %r11, %r12, %r10}}, {two}, {four};"
    with pytest.raises(PtxError, match="rounds its operands"):
        run(f"{product} mov.b32 %r20, %r30;")


def test_threads_of_which_some_do_not_execute_keep_what_they_had() -> None:
    symbols, nodes, found = run("mov.b32 %r20, %r12; setp.lt.s32 %p1, %r0, 5; @%p1 add.f32 %r20, %r10, %r11;")
    sums = [symbols.graph.add(a, b) for a, b in zip(nodes[A], nodes[B], strict=True)]
    assert found == [*sums[:5], *nodes[C][5:]]


def test_the_constants_of_exponentials_are_the_nearest_float32() -> None:
    assert (bits(math.log2(math.e)), bits(math.log(2))) == (LOG2_E, LN_2)
    codes = Codes(graph := Graph())
    assert graph.multiply(codes.node(LOG2_E), codes.node(LN_2)) != ONE  # but equal to it, at every point
    pair = ("log2(e) log(2)", graph.multiply(codes.node(LOG2_E), codes.node(LN_2)), ONE)
    assert decide(graph, [pair], 2, "e", ("", "")).failures == ()
    assert codes.node(LOG2_E + 1) != codes.node(LOG2_E)


@pytest.mark.parametrize("value", [Fraction(1, 3), Fraction(-7, 10), Fraction(1, 100000), 3])
def test_a_literal_is_the_simplest_number_that_rounds_to_it(value: Fraction) -> None:
    assert simplest_32(float(np.float32(float(value)))) == value


def test_a_literal_is_the_root_of_the_formula_that_rounds_to_it() -> None:
    codes = Codes(graph := Graph())
    two = root(graph, graph.number(2))
    known = {value: graph.number(value) for value in (math.pi, 0.044715)}
    codes.prefer()
    half = codes.node(bits(-math.sqrt(2) / 2))
    assert half == graph.multiply(graph.number(Fraction(-1, 2)), two)
    assert {value: codes.node(bits(value)) for value in known} == known
    assert graph.rational(codes.node(bits(math.sqrt(3)))) is not None
    assert codes.node(bits(-0.0)) == ZERO
    assert codes.node(LN_2) == LOG_OF_TWO


# Kernels of the library ---------------------------------------------------------------------------------------------

SOUND: list[dict[str, Any]] = [
    {"layer": layer, "target": target, "dtype": "float32", "case": 0, "symbols": True}
    for layer, target in (
        ("relu", "sm_90"),
        ("relu", "sm_80"),
        ("softmax", "sm_80"),
        ("max_pooling_2d", "sm_90"),
        ("cross_entropy", "sm_90"),
        ("batch_normalization", "sm_80"),
        ("cross_channel_normalization", "sm_90"),
        ("gelu", "sm_90"),
        ("linear", "sm_80"),
        ("dropout", "sm_90"),
    )
]
RECOGNIZED = {"cross_entropy": ["log"], "cross_channel_normalization": ["log2"], "gelu": ["erf"]}
RELU, SOFTMAX, POOLING, ENTROPY, GELU, LINEAR = (
    next(one for one in SOUND if one["layer"] == layer)
    for layer in ("relu", "softmax", "max_pooling_2d", "cross_entropy", "gelu", "linear")
)
FAULTS: list[dict[str, Any]] = [
    RELU | {"kernel": "relu_output", "fault": [r"max\.NaN\.f32", "min.NaN.f32"]},
    RELU | {"kernel": "relu_output", "fault": [r"mul\.wide\.s32 (.*), 4;", r"mul.wide.s32 \1, 8;"]},
    RELU | {"kernel": "relu_output", "fault": [r"@%p1 ld\.global", "ld.global"]},
    RELU | {"kernel": "relu_output", "fault": [r"@%p2 st\.global", "st.global"]},
    RELU | {"kernel": "relu_grad_input", "fault": [r"setp\.le\.f32", "setp.lt.f32"]},
    RELU | {"kernel": "relu_grad_input", "fault": [r"selp\.b32 (.*), 0, (%r\d+), ", r"selp.b32 \1, \2, 0, "]},
    SOFTMAX | {"kernel": "softmax_output", "fault": [r"sub\.f32 (.*), (%r\d+), (%r\d+);", r"sub.f32 \1, \3, \2;"]},
    SOFTMAX | {"kernel": "softmax_output", "fault": [f"0f{LOG2_E:08X}", f"0f{LOG2_E + 1:08X}"]},
    SOFTMAX | {"kernel": "softmax_output", "fault": [r"(shfl\.sync\.bfly\.b32\s+%r\d+, %r\d+, )\d+,", r"\g<1>1,"]},
    SOFTMAX | {"kernel": "softmax_output", "fault": [r"div\.full\.f32", "mul.f32"]},
    SOFTMAX | {"kernel": "softmax_grad_input", "fault": [r"mad\.wide\.s32 (.*), 4, ", r"mad.wide.s32 \1, 8, ", 1]},
    SOFTMAX | {"kernel": "softmax_grad_input", "fault": [r"fma\.rn\.f32", "fma.rz.f32", 0]},
    POOLING | {"kernel": "max_pooling_2d_output", "fault": [r"setp\.lt\.f32", "setp.le.f32"]},
    POOLING | {"kernel": "max_pooling_2d_grad_input", "fault": [r"add\.f32", "sub.f32"]},
    ENTROPY | {"kernel": "cross_entropy_labels_mean_loss", "fault": ["0fBE055027", "0fBE055028", 0]},
    ENTROPY | {"kernel": "cross_entropy_labels_mean_loss", "fault": [r"add\.s32 (.*), -1059760811", r"add.s32 \1, 0"]},
    GELU | {"kernel": "gelu_none_output", "fault": ["0f3FB504F3", "0f3FB504F4"]},
    LINEAR | {"kernel": "linear_output", "fault": [r"fma\.rn\.f32 \t(%r\d+), (%r\d+), ", r"fma.rn.f32 \1, \1, ", 0]},
    LINEAR | {"kernel": "linear_output", "fault": [r"^\s*bar\.sync\s+0;", "", 1]},
]
"""Exchanged and other operands, other strides, dropped predicates, another bit of a constant, another lane."""


@pytest.fixture(scope="module")
def answers() -> dict[str, dict[str, Any]]:
    """All questions in one process."""
    questions = [json.dumps(one) for one in (*SOUND, *FAULTS)]
    done = compiled("tests.ptx.worker", text="\n".join(questions))
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(zip(questions, map(json.loads, done.stdout.splitlines()), strict=True))


def label(question: dict[str, Any]) -> str:
    return "-".join(str(question[name]) for name in ("layer", "target", "kernel", "fault") if name in question)


@pytest.mark.parametrize("question", SOUND, ids=label)
def test_a_compiled_layer_is_its_formula(question: dict[str, Any], answers: dict[str, dict[str, Any]]) -> None:
    found = answers[json.dumps(question)]
    assert found["failures"] == []
    assert found["unfollowed"] == {}
    assert found["elements"]
    assert found["error_probability"] < 1e-25
    assert len(found["kernels"]) >= (1 if question["layer"] == "dropout" else 2)
    assert [*found["functions"]] == RECOGNIZED.get(question["layer"], [])


@pytest.mark.parametrize("question", FAULTS, ids=label)
def test_a_fault_in_a_compiled_kernel_is_not_proven(
    question: dict[str, Any], answers: dict[str, dict[str, Any]]
) -> None:
    """It fails, or the kernel is not among the proven ones: it computes with bits as no function that is known."""
    found = answers[json.dumps(question)]
    assert found["planted"]
    assert found["failures"] or question["kernel"] not in found["kernels"]

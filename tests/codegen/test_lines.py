"""Lines of generated Python: names that code reads decide what is kept, named and imported; texts do not."""

from __future__ import annotations

from svertka.codegen.torch_api.lines import (
    Body,
    Code,
    Line,
    Target,
    body_of,
    call,
    f_string,
    helpers_in,
    if_block,
    tuple_of,
    variable,
)


def test_code_reads_the_names_of_its_parts_in_order() -> None:
    code = "-" + variable("b") + " * " + call("whole", "c", variable("a"), 1, besides=variable("b"))
    assert code == Code('-b * whole("c", a, 1, besides=b)', ("b", "whole", "a"))
    assert tuple_of([variable("a")]) == Code("(a,)", ("a",))


def test_a_text_is_escaped_and_reads_nothing() -> None:
    assert call("f", 'a "{b}"') == Code(r'f("a \"{b}\"")', ("f",))
    assert f_string("{a} is ", variable("b")) == Code('f"{{a}} is {b}"', ("b",))


def test_a_pure_assignment_stays_only_if_something_reads_it() -> None:
    lines = [
        Line.assigning(Code("1"), "a", pure=True),
        Line.assigning(variable("a") + " + 1", "b", pure=True),
        Line.assigning(call("whole", "b", variable("c")), "d", pure=False),
        Line("return " + call("f", "b")),
    ]
    assert body_of(lines) == Body(('whole("b", c)', 'return f("b")'), frozenset({"whole", "c", "f"}))
    read = [*lines[:3], Line("return " + variable("b"))]
    assert body_of(read).lines == ("a = 1", "b = a + 1", 'whole("b", c)', "return b")


def test_unused_targets_have_no_name() -> None:
    shape = Line.assigning(call("dimensions", variable("x")), "N", Target(("k",), starred=True), Target(("a", "b")))
    assert [shape.source(used) for used in ({"N"}, {"k"}, {"b"})] == [
        "N, *_, _ = dimensions(x)",
        "_, *k, _ = dimensions(x)",
        "_, *_, (a, b) = dimensions(x)",
    ]


def test_blocks_are_indented() -> None:
    inner = if_block(variable("b"), Line(Code("pass")))
    assert body_of(if_block(variable("a"), *inner)).lines == ("if a:", "    if b:", "        pass")


def test_imports_follow_from_what_is_read() -> None:
    reads = body_of([Line(call("store", call("whole", "real", variable("x"))))]).reads
    assert helpers_in("arguments", reads) == ["whole"]
    assert helpers_in("runtime", reads) == ["store"]

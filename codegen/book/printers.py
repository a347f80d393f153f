"""Three printers of trees: Unicode for the terminal, MathML for browsers, LaTeX to copy.

Input: a ``Tree``. Output: text; MathML escaped, without the ``math`` element around it.
"""

from __future__ import annotations

from html import escape

from svertka.codegen.book.tree import (
    GREEK,
    Binding,
    Choice,
    Element,
    Fence,
    Function,
    Name,
    Number,
    Over,
    Power,
    Quotient,
    Root,
    Row,
    Sign,
    Tree,
    Word,
    fenced,
)

__all__ = ["latex", "mathml", "mathml_equation", "plain"]

LONGEST = 72  # characters of an equation in one row

_RAISED = dict(zip("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹", strict=True))
_LOWERED = dict(zip("0123456789aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ", strict=True))
_BIG = {"sum": "Σ", "product": "Π"}
_BRACKETS = ('<mo stretchy="false">[</mo>', '<mo stretchy="false">]</mo>')


# Unicode ----------------------------------------------------------------------------------------------------------


def plain(tree: Tree) -> str:
    """One line of Unicode."""
    match tree:
        case Name(text, below, primes):
            lowered = _LOWERED[below] if below.isdigit() else f"_{below}" if below else ""
            return f"{text}{lowered}{'′' * primes}"
        case Number(text) | Word(text) | Sign(text):
            return text
        case Row(parts, _):
            return _plain_row(parts)
        case Fence(left, body, right):
            return f"{left}{plain(body)}{right}"
        case Quotient(top, bottom):
            slash = "/" if isinstance(top, Number) and isinstance(bottom, Number) else " / "
            return f"{plain(fenced(top, Binding.PRODUCT))}{slash}{plain(fenced(bottom, Binding.POWER))}"
        case Power(base, exponent):
            return f"{plain(base)}{_plain_exponent(exponent)}"
        case Root(body):
            return f"√{plain(fenced(body, Binding.ATOM))}"
        case Element(tensor, ()):
            return plain(tensor)
        case Element(tensor, indices):
            return f"{plain(tensor)}[{', '.join(map(plain, indices))}]"
        case Function(name, arguments):
            return f"{name}({', '.join(map(plain, arguments))})"
        case Over():
            return _plain_over(tree)
        case Choice(condition, value, otherwise):
            return f"{{{plain(value)} if {plain(condition)}, else {plain(otherwise)}}}"


def _plain_row(parts: tuple[Tree, ...]) -> str:
    tight = all(map(_is_short, parts))
    text = ""
    for place, part in enumerate(parts):
        apart = isinstance(part, Word) or (isinstance(part, Sign) and not (part.text == "·" and tight) and place)
        text += f" {plain(part)} " if apart else plain(part)
    return text.strip()


def _is_short(part: Tree) -> bool:
    """Whether a factor is a name or a number, so that the product's dot needs no space."""
    return isinstance(part.body if isinstance(part, Fence) else part, Name | Number | Sign)


def _plain_exponent(exponent: Tree) -> str:
    if isinstance(exponent, Number) and exponent.text in _RAISED:
        return _RAISED[exponent.text]
    return f"^{plain(fenced(exponent, Binding.ATOM))}"


def _plain_over(tree: Over) -> str:
    below = ", ".join(map(plain, tree.indices))
    below += f" | {' and '.join(map(plain, tree.conditions))}" if tree.conditions else ""
    sign = _BIG.get(tree.operation, tree.operation)
    short = f"{sign}_{below}" if len(tree.indices) == 1 and not tree.conditions else f"{sign}_{{{below}}}"
    return f"{short} {plain(tree.body)}" if tree.operation in _BIG else f"{short}({plain(tree.body)})"


# MathML -----------------------------------------------------------------------------------------------------------


def mathml(tree: Tree) -> str:
    """The inside of a ``math`` element."""
    match tree:
        case Name(text, below, primes):
            return _mathml_name(text, below, primes)
        case Number(text):
            return f"<mn>{escape(text)}</mn>" if text[0] != "−" else f"<mrow><mo>−</mo><mn>{text[1:]}</mn></mrow>"
        case Word(text):
            return f'<mtext class="word">\u2002{escape(text)}\u2002</mtext>'
        case Sign(text):
            return f"<mo>{escape(text)}</mo>"
        case Row(parts, _):
            return f"<mrow>{''.join(_mathml_part(part, place) for place, part in enumerate(parts))}</mrow>"
        case Fence(left, body, right):
            return f"<mrow><mo>{left}</mo>{mathml(body)}<mo>{right}</mo></mrow>"
        case Quotient(top, bottom):
            return f"<mfrac>{mathml(top)}{mathml(bottom)}</mfrac>"
        case Power(base, Quotient(Number(top), Number(bottom))):
            return f"<msup>{mathml(base)}<mn>{top}/{bottom}</mn></msup>"
        case Power(base, exponent):
            return f"<msup>{mathml(base)}{mathml(exponent)}</msup>"
        case Root(body):
            return f"<msqrt>{mathml(body)}</msqrt>"
        case Element(tensor, ()):
            return mathml(tensor)
        case Element(tensor, indices):
            return f"<mrow>{mathml(tensor)}{_BRACKETS[0]}{_listed(indices)}{_BRACKETS[1]}</mrow>"
        case Function(name, arguments):
            return f"<mrow><mi>{name}</mi><mo>(</mo>{_listed(arguments)}<mo>)</mo></mrow>"
        case Over():
            return _mathml_over(tree)
        case Choice():
            return _mathml_choice(tree)


def mathml_equation(tree: Tree) -> str:
    """An equation; each term of a long sum gets its own row, because browsers do not break formulas."""
    match tree:
        case Row((left, Sign("="), Row(parts, Binding.SUM))) if len(plain(tree)) > LONGEST:
            rows = _terms(parts)
        case _:
            return mathml(tree)
    first = f"<mtd>{mathml(left)}</mtd><mtd><mo>=</mo></mtd>"
    lines = [f"{first}<mtd>{rows[0]}</mtd>", *(f"<mtd></mtd><mtd></mtd><mtd>{row}</mtd>" for row in rows[1:])]
    return f'<mtable class="broken">{"".join(f"<mtr>{line}</mtr>" for line in lines)}</mtable>'


def _terms(parts: tuple[Tree, ...]) -> list[str]:
    """The terms of a sum, each with the sign before it."""
    rows: list[str] = []
    for part in parts:
        if isinstance(part, Sign) or not rows:
            rows.append("")
        form = "infix" if len(rows) > 1 else "prefix"
        text = f'<mo form="{form}">{escape(part.text)}</mo>' if isinstance(part, Sign) else mathml(part)
        rows[-1] += text
    return [f"<mrow>{row}</mrow>" for row in rows]


def _mathml_name(text: str, below: str, primes: int) -> str:
    base = f"<mi>{escape(text)}</mi>"
    lower = f"<mn>{below}</mn>" if below.isdigit() else f"<mi>{escape(below)}</mi>"
    named = f"<msub>{base}{lower}</msub>" if below else base
    return f'<mrow>{named}<mo lspace="0" rspace="0">{"′" * primes}</mo></mrow>' if primes else named


def _mathml_part(part: Tree, place: int) -> str:
    """A sign at the beginning is a prefix operator."""
    return f'<mo form="prefix">{escape(part.text)}</mo>' if isinstance(part, Sign) and place == 0 else mathml(part)


def _listed(trees: tuple[Tree, ...]) -> str:
    return f"<mrow>{'<mo>,</mo>'.join(map(mathml, trees))}</mrow>"


def _mathml_over(tree: Over) -> str:
    under = _listed(tree.indices)
    if tree.conditions:
        rows = "".join(f"<mtr><mtd>{row}</mtd></mtr>" for row in (under, *map(mathml, tree.conditions)))
        under = f"<mtable>{rows}</mtable>"
    if tree.operation in _BIG:
        sign = {"sum": "∑", "product": "∏"}[tree.operation]
        return f"<mrow><munder><mo>{sign}</mo>{under}</munder>{mathml(tree.body)}</mrow>"
    operation = f'<munder><mi>{tree.operation}</mi>{under}</munder><mspace width=".25em"></mspace>'
    return f"<mrow>{operation}{mathml(tree.body)}</mrow>"


def _mathml_choice(tree: Choice) -> str:
    cases = ((tree.value, f"<mrow><mtext>if\u2002</mtext>{mathml(tree.condition)}</mrow>"),)
    rows = "".join(f"<mtr><mtd>{mathml(value)}</mtd><mtd>{when}</mtd></mtr>" for value, when in cases)
    rows += f"<mtr><mtd>{mathml(tree.otherwise)}</mtd><mtd><mtext>otherwise</mtext></mtd></mtr>"
    return f'<mrow><mo>{{</mo><mtable columnalign="left">{rows}</mtable></mrow>'


# LaTeX ------------------------------------------------------------------------------------------------------------

_COMMANDS = {
    "·": r"\cdot", "≤": r"\le", "≥": r"\ge", "≠": r"\ne", "−": "-", "∞": r"\infty", "⌊": r"\lfloor", "⌋": r"\rfloor",
    "|": "|", "(": "(", ")": ")", "≈": r"\approx",
}  # fmt: skip
_WORDS = {"exp", "log", "max", "min", "sin", "cos", "tanh"}


def latex(tree: Tree) -> str:
    """LaTeX, for use between dollar signs; needs amsmath."""
    match tree:
        case Name(text, below, primes):
            return _latex_name(text, below, primes)
        case Number(text):
            return text.replace("−", "-").replace("∞", r"\infty")
        case Word(text):
            return rf"\text{{ {_escaped(text)} }}"
        case Sign(text):
            return _COMMANDS.get(text, text)
        case Row(parts, _):
            return " ".join(map(latex, parts))
        case Fence(left, body, right):
            return rf"\left{_COMMANDS[left]} {latex(body)} \right{_COMMANDS[right]}"
        case Quotient(top, bottom):
            return rf"\frac{{{latex(top)}}}{{{latex(bottom)}}}"
        case Power(base, exponent):
            return f"{{{latex(base)}}}^{{{latex(exponent)}}}"
        case Root(body):
            return rf"\sqrt{{{latex(body)}}}"
        case Element(tensor, ()):
            return latex(tensor)
        case Element(tensor, indices):
            return rf"{latex(tensor)}\left[{', '.join(map(latex, indices))}\right]"
        case Function(name, arguments):
            command = rf"\{name}" if name in _WORDS else rf"\operatorname{{{_escaped(name)}}}"
            return rf"{command}\left({', '.join(map(latex, arguments))}\right)"
        case Over():
            return _latex_over(tree)
        case Choice(condition, value, otherwise):
            first = rf"{latex(value)} & \text{{if }} {latex(condition)}"
            return rf"\begin{{cases}} {first} \\ {latex(otherwise)} & \text{{otherwise}} \end{{cases}}"


def _latex_name(text: str, below: str, primes: int) -> str:
    words = {letter: rf"\{word}" for word, letter in GREEK.items() if len(word) > 2 and word != "eps"}
    stem = words.get(text, text) if len(text) == 1 else rf"\mathrm{{{_escaped(text)}}}"
    return stem + (f"_{{{below}}}" if below else "") + "'" * primes


def _escaped(text: str) -> str:
    return text.replace("_", r"\_")


def _latex_over(tree: Over) -> str:
    lines = [", ".join(map(latex, tree.indices)), *map(latex, tree.conditions)]
    stacked = r" \\ ".join(lines)
    below = stacked if len(lines) == 1 else rf"\substack{{{stacked}}}"
    if tree.operation in _BIG:
        return rf"\{'sum' if tree.operation == 'sum' else 'prod'}_{{{below}}} {latex(tree.body)}"
    return rf"\operatorname*{{{tree.operation}}}_{{{below}}} {latex(tree.body)}"

"""Formulas of pages as MathML; the conversion is in the extra `docs`."""

import re

import pytest

from tests.site.generated import DOCS

formulas = pytest.importorskip("tests.site.formulas", reason="needs the extra docs", exc_type=ImportError)
FORMULAS = [
    (page.name, tex)
    for page in sorted(DOCS.rglob("*.md"))
    for tex in re.findall(r"^```math\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
]


def test_pages_have_formulas() -> None:
    assert len(FORMULAS) > 8


@pytest.mark.parametrize(("page", "tex"), FORMULAS)
def test_formula_of_a_page_is_drawn(page: str, tex: str) -> None:
    assert "<math" in formulas.mathml(tex)


def test_fraction_has_its_two_parts() -> None:
    assert re.search(r"<mfrac>.*p.*q.*</mfrac>", formulas.mathml(r"\frac{p}{q}"))


def test_logarithm_stands_apart_from_its_neighbours() -> None:
    thin, log = formulas.THIN, "<mi>log</mi>"
    assert f"<mi>a</mi>{thin}{log}{thin}<mi>p</mi>" in formulas.mathml(r"a \log p")
    assert f"<mo>&#x0002B;</mo>{log}<mo" in formulas.mathml(r"a + \log(p)")


def test_unknown_command_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no formula is made of \\nothing"):
        formulas.mathml(r"\nothing x")

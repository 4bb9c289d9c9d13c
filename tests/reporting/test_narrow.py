"""Tables on narrow screens: every number is whole, at any width."""

import pytest
from rich.table import Table
from rich.text import Text

from ebm_cli.evaluation.values import Value, format_value
from ebm_cli.reporting.closing_panel import closing_panel
from ebm_cli.reporting.narrow import Fitting, pack
from tests.reporting.support import output_of, terminal

WIDTHS = (20, 40, 60, 80, 200)
VALUES: dict[str, Value] = {
    "eval/kl": 0.0012345,
    "eval/kl_se": 0.00054321,
    "eval/log_density_mse": 123.456,
    "eval/own": 123456789.0,
    "sampler/rhat": 1.0123,
    "cost/peak_memory_mb": 16384.0,
    "cost/seconds": 12345,
}


def words_of(text: str) -> list[str]:
    """The words of a panel, without its frame."""
    return [word for line in text.splitlines() for word in line.strip("│╭╮╰╯─ ").split(" ")]


@pytest.mark.parametrize("width", WIDTHS)
def test_every_number_of_the_closing_panel_is_whole(width: int) -> None:
    screen = terminal(width)
    title = "10,000 samples by MALA from 1,000 chains (step 8,000 of the run)"
    closing_panel(title, VALUES, {}, notes=["mode 0 has 0.642 of the probability, and 0.500 of the data's"]).show(
        screen
    )
    text = output_of(screen)
    expected = [format_value(value) for key, value in VALUES.items() if key != "eval/kl_se"]
    assert all(value in text for value in expected)
    assert {value for value in expected if " " not in value} <= set(words_of(text))
    assert {"0.00054", "0.642", "0.500", "10,000", "1,000", "8,000"} <= set(words_of(text))
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_a_table_with_heads_is_stacked_where_it_does_not_fit(width: int) -> None:
    table = Table()
    for head in ("method", "n", "eval/kl", "cost/seconds"):
        table.add_column(head, no_wrap=True)
    table.add_row(Text("nce"), "3", "0.00123 ± 0.00045", "12.34")
    table.add_row(Text("pcd"), "3", "0.10000 ± 0.02000", "99.99")
    screen = terminal(width)
    screen.print(Fitting(table))
    text = output_of(screen)
    assert {"0.00123", "0.00045", "12.34", "0.10000", "0.02000", "99.99"} <= set(text.split())
    assert max(map(len, text.splitlines())) <= width
    assert text.count("eval/kl") == (1 if width >= 60 else 2)


def test_entries_are_broken_only_where_no_line_has_room() -> None:
    entries = [Text(text) for text in ("step", "1 000/2 000", "a sentence of words")]
    assert [line.plain for line in pack(entries, 14)] == ["step", "  1 000/2 000", "  a sentence", "  of words"]
    assert [line.plain for line in pack(entries, 80)] == ["step  1 000/2 000  a sentence of words"]

"""The table of the strangest rows, and the sentences beside it."""

import math

import torch

from ebm_cli.evaluation.row_scores import RowScores
from ebm_cli.reporting.strangest_rows import strangest_table, summary
from tests.reporting.support import output_of, terminal

SCORES = RowScores(
    torch.tensor([1.0, 1 / 3, math.nan], dtype=torch.float64),
    torch.tensor([-2.0, -4 / 3, math.nan], dtype=torch.float64),
    0.01,
    torch.tensor([0.005, 0.5, math.nan], dtype=torch.float64),
)


def test_summary_counts_strange_rows_and_says_what_is_expected() -> None:
    found = summary(SCORES, torch.zeros(200).double())
    assert found.values == {"density/rows": 2, "density/held_out": 200, "density/strange": 1}
    assert found.notes == (
        "1 row has a missing number and no score: row 2.",
        "1 row has p <= 0.01; about 0.02 would, if all were drawn like the held-out rows.",
    )
    few = summary(SCORES, torch.zeros(20).double())
    assert "density/strange" not in few.values
    assert few.notes[1].startswith(
        "1 row has an energy above all 20 held-out rows, whose number allows no p-value below"
    )
    none = summary(RowScores(torch.ones(2).double(), None, None, torch.ones(2).double()), torch.ones(20).double())
    assert none.notes[-1] == "No row has an energy above all 20 held-out rows."
    alone = summary(RowScores(torch.ones(2).double(), None, None, None), None)
    unknown = "log p is unknown: energy only. log Z is not known, but the order by energy is that by log p."
    assert alone.notes == (unknown,)


def test_table_shows_values_as_far_as_they_fit() -> None:
    x = torch.arange(40.0).view(2, 20)
    for width in (40, 80):
        screen = terminal(width)
        screen.print(strangest_table(SCORES, [0, 1], x, [f"column{j}" for j in range(20)], width))
        text = output_of(screen)
        shown = sum(f"column{j}" in text for j in range(2, 20)) + 2
        assert all(len(line) <= width for line in text.splitlines())
        assert ("0.3333" in text, "1.000" in text, "…" in text) == (True, True, False)
        assert "more columns" in text
        assert shown < 20
    one = strangest_table(SCORES, [0, 1], x[:, :1], ["column0"], 40)
    assert one.caption == "1 more column"


def test_table_shows_numbers_as_the_file_has_them() -> None:
    x = torch.tensor([[1022.4, 6.0, 0.1], [1022.5, 12.0, 123456.7]])
    table = strangest_table(SCORES, [0, 1], x, ["pressure", "count", "share"], 80)
    shown = [list(column.cells) for column in table.columns[-3:]]
    assert shown == [["1022.4", "1022.5"], ["6", "12"], ["0.1", "123456.7"]]
    precise = strangest_table(SCORES, [0], torch.tensor([[1 / 3]], dtype=torch.float64), None, 80)
    assert list(precise.columns[-1].cells) == ["0.33333333"]

"""The table of results: groups, units, references."""

import pytest

from ebm_cli.evaluation.result_registry import verdict
from ebm_cli.evaluation.values import Value
from ebm_cli.reporting.results_table import group_results, results_table
from tests.reporting.support import output_of, terminal


def test_known_groups_come_first() -> None:
    values: dict[str, Value] = {"other": 1, "cost/seconds": 2.0, "eval/kl": 0.1, "cost/grad_evals": 3}
    assert list(group_results(values)) == ["eval", "cost", ""]
    assert list(group_results(values)["cost"]) == ["cost/seconds", "cost/grad_evals"]


def test_table_shows_value_unit_reference_and_verdict() -> None:
    screen = terminal()
    values: dict[str, Value] = {"eval/kl": 0.0012345, "eval/mode_tv": 0.5, "cost/seconds": 41.52, "eval/own": 3}
    screen.print(results_table(values))
    lines = [line.split() for line in output_of(screen).splitlines()]
    assert ["kl", "0.001234", "nats", "0", "right"] in lines
    assert ["mode_tv", "0.5000", "0", "wrong"] in lines
    assert ["seconds", "41.52", "s"] in lines
    assert ["own", "3"] in lines


def test_table_has_no_row_for_a_companion() -> None:
    screen = terminal()
    screen.print(results_table({"eval/kl": 0.1, "eval/kl_se": 0.01}))
    assert "kl_se" not in output_of(screen)
    assert "0 ± 0.01" in output_of(screen)


@pytest.mark.parametrize("width", [40, 100])
def test_bound_of_p_values_is_said_once_below_them(width: int) -> None:
    """A table without p-values says nothing of it, although a result may be within noise of standard errors."""
    tested: dict[str, Value] = {"eval/mmd": 0.1, "eval/mmd_p": 0.015, "eval/ksd": 0.1, "eval/ksd_p": 0.005}
    for values, n in ((tested, 1), ({"eval/kl": 0.001, "eval/kl_se": 0.01}, 0)):
        screen = terminal(width)
        screen.print(results_table(values))
        text = output_of(screen)
        assert "within noise" in text
        assert text.count("A p-value above 0.01 is within noise.") == n


@pytest.mark.parametrize("width", [*range(36, 100, 4), 200])
def test_no_word_of_a_verdict_is_cut_at_any_width(width: int) -> None:
    values: dict[str, Value] = {
        "eval/log_z": -0.087331,
        "eval/log_z_method": "grid",
        "eval/border_mass": 2.3e-14,
        "eval/log_z_learned": 0.004117,
        "eval/sliced_wasserstein": 0.2212,
        "eval/sliced_wasserstein_null": 0.2734,
        "eval/sliced_wasserstein_p": 0.913,
        "eval/ood_auroc_shuffled": 0.5145,
        "eval/ood_auroc_shuffled_se": 0.0235,
    }
    screen = terminal(width)
    screen.print(results_table(values))
    text = output_of(screen)
    verdicts = [verdict(key, values).word for key in values]
    assert "no better than guessing" in verdicts
    assert {word for found in verdicts for word in found.split()} <= set(text.split())
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width


def test_long_verdicts_are_wrapped_before_a_table_is_stacked() -> None:
    values: dict[str, Value] = {"eval/kl": 0.001, "eval/ood_auroc_shuffled": 0.5}
    wide, narrow = terminal(), terminal(56)
    wide.print(results_table(values))
    narrow.print(results_table(values))
    assert "no better than guessing" in output_of(wide)
    lines = output_of(narrow).splitlines()
    row = next(i for i, line in enumerate(lines) if "ood_auroc_shuffled" in line)
    column = lines[row].index("no better than")
    assert lines[row + 1][column:].strip() == "guessing"
    assert not lines[row + 1][:column].strip()
    assert lines[row - 1].index("right") == column


def test_a_long_reference_is_wrapped_and_columns_stay_aligned() -> None:
    values: dict[str, Value] = {
        "eval/log_z": -0.087331,
        "eval/log_z_method": "importance",
        "eval/log_z_se": 2.017e-10,
        "eval/log_z_ess": 16384.0,
        "eval/ood_auroc_shuffled": 0.7145,
        "eval/ood_auroc_shuffled_se": 0.0235,
        "cost/laplacian_evals": 2.5,
    }
    screen = terminal(76)
    screen.print(results_table(values))
    lines = output_of(screen).splitlines()
    rows = {line.split()[0]: line for line in lines if len(line.split()) > 2}
    shown = {"log_z": "-0.08733", "ood_auroc_shuffled": "0.7145", "laplacian_evals": "2.500"}
    assert len({rows[key].index(value) + len(value) for key, value in shown.items()}) == 1
    column = rows["log_z"].index("importance")
    assert rows["ood_auroc_shuffled"].index("1 ± 0.02") == column
    after = lines[lines.index(rows["log_z"]) + 1]
    assert (after[:column].strip(), after[column:].split()) == ("", ["±", "2.017e-10,"])
    assert max(map(len, lines)) <= 76

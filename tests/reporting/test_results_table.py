"""The table of results: groups, units, references."""

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
    assert ["kl", "0.001234", "nats", "0", "close"] in lines
    assert ["mode_tv", "0.5000", "0", "wrong"] in lines
    assert ["seconds", "41.52", "s"] in lines
    assert ["own", "3"] in lines


def test_table_has_no_row_for_a_companion() -> None:
    screen = terminal()
    screen.print(results_table({"eval/kl": 0.1, "eval/kl_se": 0.01}))
    assert "kl_se" not in output_of(screen)
    assert "0 ± 0.01" in output_of(screen)

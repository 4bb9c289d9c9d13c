"""Sentences on a comparison: which group to use, whether a lead is luck, and what makes a mean doubtful."""

from dataclasses import replace

import pytest

from ebm_cli.comparison.conclusions import conclusion, overall, warnings
from tests.comparison.support import Runs


@pytest.mark.parametrize(
    ("nce", "sm", "text"),
    [
        (
            (0.10, 0.11, 0.12),
            (0.50, 0.51, 0.52),
            "is beyond the spread of the seeds (Welch's t-test, p < 0.0001; beyond is p < 0.05)",
        ),
        (
            (0.10, 0.11, 0.12),
            (0.05, 0.20, 0.15),
            "is within the spread of the seeds (Welch's t-test, p = 0.65; beyond is p < 0.05)",
        ),
        ((0.1,), (0.5,), "the difference cannot be tested with fewer than two seeds per group"),
    ],
)
def test_conclusion_compares_a_lead_with_the_seeds(
    runs: Runs, nce: tuple[float, ...], sm: tuple[float, ...], text: str
) -> None:
    runs.write_kls("nce", *nce)
    runs.write_kls("sm", *sm)
    [section] = runs.compare().sections
    assert conclusion(section).startswith(f"moons: nce has the lowest KL, {section.groups[0].spreads['eval/kl']}")
    assert text in conclusion(section)


def test_conclusion_names_the_cheaper_equals(runs: Runs) -> None:
    runs.write_kls("nce", 0.10, 0.14, seconds=40.0)
    runs.write_kls("sm", 0.13, 0.14, seconds=12.0)
    # Cheap, and clearly worse.
    runs.write_kls("cd", 0.8, 0.9, seconds=1.0)
    [section] = runs.compare().sections
    assert conclusion(section).endswith(
        "cheaper than its 40.00 s and within the spread: sm, 0.1350 ± 0.0071 in 12.00 s."
    )
    best, equal, worse = section.groups
    assert equal.label == "sm"
    alone = replace(section, groups=(best, worse))
    assert conclusion(alone).endswith("nothing within the spread is cheaper than its 40.00 s.")


def test_two_seeds_do_not_make_a_far_worse_group_an_equal(runs: Runs) -> None:
    """A lead of six standard deviations, for which the test of two runs each has p = 0.07; and a time within noise."""
    runs.write_kls("nce", 0.0596, 0.0628, seconds=2.4)
    runs.write_kls("sm", 0.38, 0.464, seconds=1.0)
    [section] = runs.compare().sections
    assert "that lead is larger than the spread, and more seeds would tell whether it is chance (Welch's" in conclusion(
        section
    )
    assert conclusion(section).endswith("nothing within the spread is cheaper than its 2.400 s.")
    runs.write_kls("cd", 0.0597, 0.0629, seconds=2.3)
    assert conclusion(runs.compare().sections[0]).endswith("nothing within the spread is cheaper than its 2.400 s.")


def test_a_best_without_spread_hides_no_cheaper_equal(runs: Runs) -> None:
    runs.write_kls("ssm", 5.944, 5.944, seconds=15.36)
    runs.write_kls("nce", 5.9437, 5.9579, seconds=9.8)
    [section] = runs.compare().sections
    assert "within the spread of the seeds (Welch's t-test, p = 0.5" in conclusion(section)
    assert conclusion(section).endswith(
        "cheaper than its 15.36 s and within the spread: nce, 5.951 ± 0.010 in 9.800 s."
    )


def test_conclusion_of_a_single_run_is_by_the_sd_of_the_best(runs: Runs) -> None:
    runs.write_kls("nce", 0.10, 0.14, seconds=40.0)
    runs.write_kls("sm", 0.14, seconds=12.0)
    runs.write_kls("cd", 0.2, seconds=1.0)
    [section] = runs.compare().sections
    assert conclusion(section).endswith("within the spread: sm, 0.1400 in 12.00 s.")


def test_overall_counts_leads_over_data_sets(runs: Runs) -> None:
    for dataset, shift in (("moons", 0.0), ("rings", 0.39)):
        runs.write_kls("nce", *(0.1 + 0.01 * i + shift for i in range(3)), dataset=dataset)
        runs.write_kls("sm", *(0.5 + 0.01 * i for i in range(3)), dataset=dataset)
    assert overall(runs.compare()) == "Of 2 data sets nce leads on 2 (beyond the spread of the seeds on 1)."


def test_overall_is_empty_for_one_data_set(runs: Runs) -> None:
    runs.write_kls("nce", 0.1)
    runs.write_kls("sm", 0.2)
    assert overall(runs.compare()) == ""


@pytest.mark.parametrize(
    ("results", "text"),
    [({"eval/kl": 0.1}, "nce alone has KL, 0.1000 (1 run)"), ({"cost/seconds": 1.0}, "no result to rank by")],
)
def test_conclusion_without_two_groups_to_rank(runs: Runs, results: dict[str, float], text: str) -> None:
    runs.write(results=results)
    runs.write("sm", results={"cost/seconds": 2.0})
    [section] = runs.compare().sections
    assert text in conclusion(section)


def test_warnings_name_keys_that_a_group_mixes(runs: Runs) -> None:
    runs.write(results={"eval/kl": 0.1}, seed=1, config={"steps": 8000, "log_every": 1})
    runs.write(results={"eval/kl": 0.1}, seed=2, config={"steps": 20000, "log_every": 2})
    expected = "groups mix steps=8000 and 20000; add it to by: by=[method,dataset,steps]"
    assert warnings(runs.compare()) == [expected]
    assert warnings(runs.compare(["method", "dataset", "steps"])) == []


def test_warnings_name_options_and_not_their_keys(runs: Runs) -> None:
    runs.write(dataset="moons", results={"eval/kl": 0.1}, config={"dataset": {"noise": 1}})
    runs.write(dataset="rings", results={"eval/kl": 0.1}, config={"dataset": {"radius": 2}})
    expected = "groups mix dataset=moons and rings; add it to by: by=[method,dataset]"
    assert warnings(runs.compare(["method"])) == [expected]


def test_warnings_name_a_repeated_seed(runs: Runs) -> None:
    for seed in (3, 3):
        runs.write(results={"eval/kl": 0.1}, seed=seed)
    expected = "nce · moons: several runs of seed=3; a repeated seed shows no spread"
    assert warnings(runs.compare()) == [expected]


def test_warnings_name_tables_without_a_bound(runs: Runs) -> None:
    for seed in (1, 2):
        runs.write(results={"eval/nll": -4.0, "eval/unbounded": "column 2 is constant; set dataset.drop=2"}, seed=seed)
    assert warnings(runs.compare()) == [
        "the likelihood has no upper bound, and a lower NLL means nothing: column 2 is constant; set dataset.drop=2"
    ]


def test_warnings_name_runs_that_training_has_not_bettered(runs: Runs) -> None:
    for evaluated in (0, 0, 100):
        runs.write("ssm", results={"eval/nll": 5.9}, evaluated=evaluated)
    runs.write("nce", results={"eval/nll": 5.9}, evaluated=100)
    runs.write("cd", results={"eval/nll": 5.9})
    expected = "ssm · moons: the results of 2 of 3 runs are of step 0, the density that training began with"
    assert warnings(runs.compare()) == [expected]


def test_step_0_is_not_told_of_runs_evaluated_again(runs: Runs) -> None:
    run = runs.write("ssm", results={"eval/nll": 5.9}, evaluated=0)
    again = run / "evaluate" / "2031-01-01"
    again.mkdir(parents=True)
    (again / "results.json").write_text('{"eval/nll": 5.8}')
    assert warnings(runs.compare()) == []

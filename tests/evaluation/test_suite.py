"""The suite: only the groups that are asked for, in the order of the table whatever the order of the words."""

import pytest

from ebm_cli.config.schema import Metric
from ebm_cli.datasets import Gaussian, Synthetic
from ebm_cli.energies.quadratic import Quadratic
from ebm_cli.evaluation.suite import GROUPS
from tests.evaluation.toys import small_evaluation

NAMES = list(dict.fromkeys(name for name, _ in GROUPS))


def test_the_schema_has_the_names_of_the_groups() -> None:
    from typing import get_args

    assert list(get_args(get_args(Metric)[0])) == NAMES


def test_groups_are_independent_of_each_other() -> None:
    """Each alone gives the values that it gives among all, but for the time that chains take."""
    energy, data = Quadratic((2,), precision=2.0), Synthetic(Gaussian(2))
    whole = small_evaluation(energy, data, *NAMES, n_samples=100).results.values
    alone = [small_evaluation(energy, data, name, n_samples=100).results.values for name in NAMES]
    timed = {"sampler/ess_per_second"}
    for values in alone:
        assert {key: x for key, x in values.items() if key not in timed}.items() <= whole.items()
    found = {key for values in alone for key in values}
    assert set(whole) - found == {f"eval/log_z_ais{part}" for part in ("", "_se", "_upper", "_gap")}


def test_the_order_of_the_words_does_not_matter() -> None:
    energy, data = Quadratic((2,)), Synthetic(Gaussian(2))
    one, other = (small_evaluation(energy, data, *names, n_samples=100).results for names in (NAMES, NAMES[::-1]))
    assert list(one.values) == list(other.values)


@pytest.mark.parametrize(("metrics", "has_reason"), [(("features", "ood"), True), (("features", "score"), False)])
def test_groups_of_real_data_alone_give_a_reason(metrics: tuple[str, ...], has_reason: bool) -> None:
    absent = small_evaluation(Quadratic((2,)), Synthetic(Gaussian(2)), *metrics).results.absent
    assert ("density is unknown" in absent.get("metrics", "")) is has_reason

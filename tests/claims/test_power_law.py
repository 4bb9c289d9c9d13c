"""The claim that a result is a power of a config key."""

from ebm_cli.claims import PowerLaw
from tests.claims.records import nce_run, passed


def test_power_law_is_the_slope_of_the_logarithms() -> None:
    claim = PowerLaw("eval/log_density_mse", against="dataset.n_train", exponent=-1, within=0.1)
    inverse = [nce_run(n, 30 / n * factor) for n in (100, 1000, 10_000) for factor in (0.5, 1.5)]
    root = [nce_run(n, 30 / n**0.5) for n in (100, 1000, 10_000)]
    [verdict] = claim.judge(inverse)
    assert verdict.passed
    assert "slope -1.000 over 3 values, 6 runs; within 0.1" in verdict.what
    assert passed(claim, root) == [False]
    assert passed(claim, inverse[:2]) == [None]
    assert passed(claim, [nce_run(100, 0.0), nce_run(1000, 0.1)]) == [False]

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


def test_squares_are_averaged_of_an_error_of_either_sign() -> None:
    signed = PowerLaw("eval/log_density_mse", against="dataset.n_train", exponent=-1, within=0.1, squared=True)
    runs = [nce_run(n, sign * n**-0.5) for n in (100, 1000, 10_000) for sign in (1, -1)]
    [verdict] = signed.judge(runs)
    assert verdict.passed
    assert "eval/log_density_mse² ∝ dataset.n_train^-1: slope -1.000" in verdict.what
    plain = PowerLaw("eval/log_density_mse", against="dataset.n_train", exponent=-1, within=0.1)
    assert passed(plain, runs) == [False]
    assert passed(signed, [nce_run(n, n**-0.25) for n in (100, 1000, 10_000)]) == [False]

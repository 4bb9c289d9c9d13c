"""The claim of a negative mean difference over splits, with the standard error of splits that share rows."""

import pytest

from ebm_cli.claims import Gain, Verdict
from tests.claims.records import make_record, passed, runs_of


def test_gain_has_the_error_of_splits_that_share_rows() -> None:
    """Mean −0.3 of −0.1, −0.3, −0.5: s = 0.2, and 0.2 √(1/3 + 0.25) = 0.153."""
    [verdict] = Gain("eval/kl", ratio=0.25).judge(runs_of("nce", -0.1, -0.3, -0.5))
    assert verdict == Verdict(True, "eval/kl -0.3 ± 0.15, within its noise; 3 of 3 splits below 0")
    [verdict] = Gain("eval/kl", ratio=0.25).judge(runs_of("nce", 0.4, 0.3, -0.1))
    assert (verdict.passed, verdict.what[-23:]) == (False, "; 1 of 3 splits below 0")
    uncertain = [make_record({"eval/kl": kl, "eval/log_z_se": 0.5}) for kl in (0.4, 0.3, -0.1)]
    [verdict] = Gain("eval/kl", ratio=0.25).judge(uncertain)
    assert verdict.what.endswith("splits below 0; log Z is uncertain (± 0.5 at most)")
    assert passed(Gain("eval/kl", ratio=0.25), runs_of("nce", -0.1)) == [None]
    assert passed(Gain("eval/none", ratio=0.25), runs_of("nce", -0.1, -0.2)) == [False]
    with pytest.raises(ValueError, match=r"^ratio must be > 0"):
        Gain("eval/kl", ratio=0.0)


def test_allowed_misses_pass_by_one_standard_error() -> None:
    """Errors are 0.153: a mean of 0.1 misses 0 by less than one, a mean of 0.2 by more."""
    runs = [*runs_of("nce", -0.1, 0.1, 0.3), *runs_of("cd", 0.0, 0.2, 0.4), *runs_of("sm", -0.1, -0.3, -0.5)]
    where = {"method": ["nce", "cd", "sm"]}
    assert passed(Gain("eval/kl", ratio=0.25, where=where), runs) == [False, False, True]
    assert passed(Gain("eval/kl", ratio=0.25, where=where, misses=1), runs) == [True, False, True]
    [nce, cd, sm] = Gain("eval/kl", ratio=0.25, where=where, misses=1).judge(runs)
    assert nce.what.endswith("1 of 3 splits below 0; by at most one standard error, as 1 may")
    assert not any("may" in verdict.what for verdict in (cd, sm))
    two = {"method": ["nce", "pcd"]}
    near = [*runs[:3], *runs_of("pcd", -0.1, 0.1, 0.3)]
    assert passed(Gain("eval/kl", ratio=0.25, where=two, misses=1), near) == [False, False]
    assert passed(Gain("eval/kl", ratio=0.25, where=two, misses=2), near) == [True, True]
    with pytest.raises(ValueError, match=r"^misses must be >= 0"):
        Gain("eval/kl", ratio=0.25, misses=-1)

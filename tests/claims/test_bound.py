"""The claim that a result lies within bounds: its reductions, its groups and its words."""

from ebm_cli.claims import Bound, Verdict
from tests.claims.records import make_record, passed, runs_of


def test_bound_holds_for_each_run_or_for_their_reduction() -> None:
    runs = runs_of("nce", 0.1, 0.2, 0.6)
    assert passed(Bound("eval/kl", at_most=0.6), runs) == [True]
    assert passed(Bound("eval/kl", at_most=0.5), runs) == [False]
    assert passed(Bound("eval/kl", at_most=0.2, take="median"), runs) == [True]
    assert passed(Bound("eval/kl", at_most=0.19, take="median"), runs) == [False]
    assert passed(Bound("eval/kl", at_least=0.29, at_most=0.31, take="mean"), runs) == [True]
    assert passed(Bound("eval/kl", at_most=0.49, take="spread"), runs) == [False]
    assert passed(Bound("eval/kl", at_most=0.51, take="spread"), runs) == [True]
    assert passed(Bound("eval/kl", at_least=0.1), runs) == [True]
    assert passed(Bound("eval/kl", at_least=0.11), runs) == [False]


def test_list_makes_groups_and_an_empty_one_is_not_judged() -> None:
    runs = [*runs_of("nce", 0.1), *runs_of("sm", 0.9)]
    verdicts = Bound("eval/kl", at_most=0.5, where={"method": ["nce", "sm", "mle"]}).judge(runs)
    assert [verdict.passed for verdict in verdicts] == [True, False, None]
    assert verdicts[2].what == "method=mle eval/kl: not run"
    assert passed(Bound("eval/kl", at_most=0.5, where={"method": "nce", "seed": [0, 1]}), runs) == [True, None]


def test_verdict_shows_the_number_the_bound_and_the_source() -> None:
    [verdict] = Bound("eval/kl", at_most=0.5, source="the paper: 0.4", where={"method": "nce"}).judge(
        runs_of("nce", 0.9)
    )
    assert verdict == Verdict(False, "method=nce eval/kl 0.9 not ≤ 0.5 [the paper: 0.4]")
    [verdict] = Bound("eval/kl", at_least=0.0, at_most=0.5, take="median").judge(runs_of("nce", 0.1, 0.3, 0.2))
    assert verdict == Verdict(True, "eval/kl median 0.2 of 3 (0.1 … 0.3) in [0, 0.5]")


def test_missing_result_fails_and_names_its_run() -> None:
    [verdict] = Bound("eval/kl", at_most=1.0).judge([make_record({"eval/nll": 1.0})])
    assert verdict == Verdict(False, "eval/kl: 0 has no eval/kl")

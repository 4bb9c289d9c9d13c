"""The claim that one result is smaller than another, within each run or between groups."""

from ebm_cli.claims import Order
from tests.claims.records import make_record, passed, runs_of


def test_order_of_two_results_compares_each_run_with_itself() -> None:
    runs = [make_record({"eval/kl": 0.1, "eval/flow_kl": 0.2}), make_record({"eval/kl": 0.3, "eval/flow_kl": 0.4})]
    claim = Order("eval/kl", below="eval/flow_kl")
    assert passed(claim, runs) == [True]
    assert passed(claim, [*runs, make_record({"eval/kl": 0.5, "eval/flow_kl": 0.4})]) == [False]
    assert passed(claim, [make_record({"eval/kl": 0.1})]) == [False]


def test_order_of_two_groups_compares_the_same_result() -> None:
    runs = [*runs_of("sm", 0.1, 0.5), *runs_of("nce", 0.4, 0.8), *runs_of("fce", 0.6)]
    claim = {"key": "eval/kl", "where": {"method": "sm"}, "beside": {"method": ["nce", "fce", "mle"]}}
    assert passed(Order(**claim), runs) == [False, True, None]
    assert passed(Order(**claim, take="median"), runs) == [True, True, None]

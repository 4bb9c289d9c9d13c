"""Tables of known density: what training and its monitor see of them, and what the evaluation sees."""

import pytest
import torch

from ebm_cli.datasets import TableSuite
from ebm_cli.datasets.table_suite.members import MEMBERS
from ebm_cli.evaluation.expectation import DataDistribution
from ebm_cli.training.monitor import Monitor
from tests.datasets.support import CONF, rows_of
from tests.support import TINY, Ebm, no_pictures


@pytest.mark.parametrize("name", MEMBERS)
def test_training_rows_are_standardised_and_their_own_number(name: str):
    data = TableSuite(name, n_rows=1_000)
    u = data.standardizer(data.training_rows(1_000))
    assert u.shape == (700, *data.shape)
    torch.testing.assert_close(u.mean(0), torch.zeros_like(u[0]), atol=1e-4, rtol=0.0)
    torch.testing.assert_close(u.std(0), torch.ones_like(u[0]), atol=1e-3, rtol=0.0)
    assert len(data.validation(9_999)) == 100
    assert data.is_table


def test_parts_share_no_row_and_seeds_no_table():
    data = TableSuite("returns", n_rows=2_000)
    parts = [rows_of(x) for x in (data.training_rows(2_000), data.validation(2_000), data.held_out(5_000))]
    assert [len(part) for part in parts] == [1_400, 200, 5_000]
    assert not parts[0] & parts[1] | (parts[0] | parts[1]) & parts[2]
    assert not rows_of(TableSuite("returns", n_rows=2_000, seed=1).training_rows(2_000)) & parts[0]


def test_fewer_fresh_rows_are_the_first_of_more():
    data = TableSuite("shell", n_rows=100)
    assert torch.equal(data.held_out(50), data.held_out(9_000)[:50])


def test_option_lists_every_name_of_the_suite():
    text = (CONF / "table_suite.yaml").read_text()
    assert all(name in text for name in MEMBERS)
    for name, member in MEMBERS.items():
        assert f"{member.n_rows:,} rows" in str(TableSuite.__doc__).split(name, 1)[1].split("\n", 1)[0]


@pytest.mark.parametrize("part", ["test", "validation"])
def test_density_is_known_to_the_final_evaluation_alone(part: str):
    found = DataDistribution(TableSuite("counts", n_rows=1_000), 1_000, part=part)
    assert found.is_exact == (part == "test")
    assert (found.density is None) == (part == "validation")


@pytest.mark.slow
def test_run_is_monitored_by_validation_rows_alone(ebm: Ebm, monkeypatch: pytest.MonkeyPatch):
    no_pictures(monkeypatch)
    keys: list[str] = []
    choose = Monitor.value
    monkeypatch.setattr(Monitor, "value", lambda self, results: (keys.append(self.key), choose(self, results))[1])
    ran = ebm("train", *TINY, "dataset=table_suite", "dataset.n_rows=500", "steps=2", "eval_every=1")
    assert (ran.code, ran.err) == (0, "")
    assert set(keys) == {"val/nll"}


@pytest.mark.parametrize(
    ("keys", "message"),
    [({"name": "wine"}, "name must be one of"), ({"n_rows": 5}, "n_rows must be >= 10"), ({"seed": -1}, "seed must")],
)
def test_table_names_the_key_that_it_refuses(keys: dict, message: str):
    with pytest.raises(ValueError, match=f"^{message}"):
        TableSuite(**keys)

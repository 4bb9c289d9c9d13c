"""Settings of runs, and those in which they differ."""

import json

from ebm_cli.comparison.conclusions import warnings
from ebm_cli.comparison.settings import (
    MOST_KEYS,
    differing_settings,
    format_setting,
    in_order,
    keys_that_group,
    settings_of,
)
from ebm_cli.runs.record import find
from tests.comparison.support import Runs


def test_format_setting_writes_values_as_on_the_command_line() -> None:
    found = [format_setting(value) for value in (None, "mala", 0.5, True, [1, 2])]
    assert found == ["–", "mala", "0.5", "true", "[1, 2]"]


def test_in_order_sorts_numbers_by_length() -> None:
    assert in_order({"128", "64", "8"}) == ["8", "64", "128"]


def test_settings_are_options_then_config_keys(runs: Runs) -> None:
    runs.write(config={"steps": 10})
    settings = settings_of(find(runs.root)[0])
    assert list(settings)[:2] == ["method", "dataset"]
    assert (settings["steps"], settings["energy.width"]) == ("10", "8")


def test_differing_settings_leave_out_keys_inside_an_option(runs: Runs) -> None:
    runs.write(dataset="moons", config={"dataset": {"noise": 1}, "steps": 1}, seed=0)
    runs.write(dataset="rings", config={"dataset": {"radius": 2}, "steps": 2}, seed=0)
    assert differing_settings(find(runs.root)) == {"dataset": ["moons", "rings"], "steps": ["1", "2"]}


def test_runs_of_other_settings_are_other_groups(runs: Runs) -> None:
    """Two classes of one name, two widths; the control differs in seeds alone, and has the usual keys."""
    for width in (8, 16):
        for seed in (0, 1):
            runs.write(results={"eval/kl": 1.0}, seed=seed, config={"energy": {"_target_": "a.Own", "width": width}})
    runs.write(results={"eval/kl": 1.0}, seed=0, config={"energy": {"_target_": "b.Own", "width": 8}})
    records = find(runs.root)
    assert keys_that_group(records[:2]) == ["method", "dataset"]
    assert keys_that_group(records[:4]) == ["method", "dataset", "energy.width"]
    keys = keys_that_group(records)
    assert set(keys) == {"method", "dataset", "energy._target_", "energy.width"}
    assert [len(group.records) for group in runs.compare(keys).groups] == [2, 2, 1]


def test_settings_that_differ_between_methods_group_nothing(runs: Runs) -> None:
    runs.write("nce", config={"steps": 10})
    runs.write("sm", config={"steps": 20})
    assert keys_that_group(find(runs.root)) == ["method", "dataset"]


def test_options_of_defaults_alone_make_no_group(runs: Runs) -> None:
    """Two runs have the same config; the energy of one was typed."""
    for pairing in ("default_nce", "mlp_nce"):
        path = runs.write(results={"eval/kl": 1.0})
        choices = {"method": "nce", "dataset": "moons", "pairing": pairing}
        (path / ".hydra" / "hydra.yaml").write_text(json.dumps({"hydra": {"runtime": {"choices": choices}}}))
    keys = keys_that_group(find(runs.root))
    assert keys == ["method", "dataset"]
    assert warnings(runs.compare(keys)) == []


def test_runs_on_other_threads_are_one_group_with_a_warning(runs: Runs) -> None:
    for threads in (1, 2):
        runs.write(results={"eval/kl": 1.0}, seed=threads, config={"threads": threads})
    keys = keys_that_group(find(runs.root))
    assert keys == ["method", "dataset"]
    assert any("threads" in line for line in warnings(runs.compare(keys)))


def test_keys_that_group_are_few(runs: Runs) -> None:
    for value in (1, 2):
        runs.write(config={f"k{i}": value for i in range(MOST_KEYS + 2)})
    assert len(keys_that_group(find(runs.root))) == 2 + MOST_KEYS

"""A measurement in place of a training, and one on the runs of a training or a sweep."""

import json
from pathlib import Path

import pytest

from ebm_cli.runs.record import read
from tests.support import FAST, Ebm, no_pictures

NUMBER = ("measurement={_target_: tests.lecture.measurements.Number, number: 0.5}", "hydra.run.dir=run", "seed=7")
STEPS = "measurement={_target_: tests.lecture.measurements.Steps, n_steps: 2}"


def test_measurement_passes_and_trains_nothing(ebm: Ebm) -> None:
    ran = ebm("train", *NUMBER)
    assert ran.code == 0, ran.err
    assert "Claim: the number is small." in ran.out
    assert "PASS" in ran.out
    numbers = json.loads(Path("run/numbers.json").read_text())
    assert numbers["claim"] == "the number is small"
    assert numbers["rows"] == [{"number": 0.5, "seed": 7, "runs": 0, "none": None}]
    assert numbers["verdicts"] == [{"statement": "small", "passed": True, "what": "number 0.5 ≤ 1"}]
    assert Path("run/figures/measurement.png").read_bytes().startswith(b"\x89PNG")
    assert not Path("run/checkpoints").exists()
    assert not Path("run/metrics.jsonl").exists()


def test_claim_that_fails_ends_with_exit_code_one(ebm: Ebm) -> None:
    """Negative control of the test above."""
    ran = ebm("train", *NUMBER, "+measurement.bound=0.1")
    assert ran.code == 1
    assert "FAIL" in ran.out
    assert "claims that failed: small" in ran.err
    assert json.loads(Path("run/claims.json").read_text())[0]["passed"] is False


def test_measured_run_is_listed_as_finished_and_not_repeated(ebm: Ebm) -> None:
    assert ebm("train", *NUMBER).code == 0
    record = read(Path("run"))
    assert (record.state, record.problem, record.config["seed"]) == ("finished", "", 7)
    assert "finished" in ebm("runs", "root=run").out
    again = ebm("train", *NUMBER)
    assert again.code == 0
    assert "nothing to do" in again.out + again.err
    assert "another config" in ebm("train", *NUMBER[:2], "seed=8").err
    assert "another config" in ebm("train", NUMBER[0].replace("0.5", "0.6"), *NUMBER[1:]).err


def test_finished_measurement_ends_with_its_verdict_again(ebm: Ebm) -> None:
    """Its numbers and its exit code, without another measurement."""
    words = (*NUMBER, "+measurement.bound=0.1")
    assert ebm("train", *words).code == 1
    Path("run/claims.json").unlink()
    before = Path("run/numbers.json").stat().st_mtime_ns
    again = ebm("train", *words)
    assert again.code == 1
    assert "Claim: the number is small." in again.out
    assert "claims that failed: small" in again.err
    assert json.loads(Path("run/claims.json").read_text())[0]["passed"] is False
    assert Path("run/numbers.json").stat().st_mtime_ns == before


def test_interrupted_measurement_begins_again(ebm: Ebm) -> None:
    words = ("train", "measurement={_target_: tests.lecture.measurements.Patient}", "hydra.run.dir=run")
    assert ebm(*words).code == 130
    assert read(Path("run")).state == "interrupted"
    Path("patience").touch()
    assert ebm(*words).code == 0
    assert read(Path("run")).state == "finished"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("measurement={_target_: tests.lecture.measurements.Number, numbr: 1}", "measurement.numbr: no such key"),
        ("measurement={_target_: ebm_cli.claims.Bound, key: a}", "must name a class of Measurement"),
        ("measurement=ula", "measurement"),
    ],
)
def test_wrong_measurement_is_refused_in_one_line(ebm: Ebm, words: str, message: str) -> None:
    ran = ebm("train", words, "hydra.run.dir=run")
    assert ran.code == 1
    assert message in ran.err
    assert not Path("run").exists()


def test_sweep_over_seeds_measures_each_job(ebm: Ebm) -> None:
    assert ebm("train", "-m", NUMBER[0], "seed=1,2", "hydra.sweep.dir=sweep").code == 0
    seeds = [json.loads(Path(f"sweep/{i}/numbers.json").read_text())["rows"][0]["seed"] for i in (0, 1)]
    assert seeds == [1, 2]


def test_measurement_on_runs_is_made_after_the_sweep(ebm: Ebm, monkeypatch: pytest.MonkeyPatch) -> None:
    no_pictures(monkeypatch)
    ran = ebm("train", "-m", *FAST, STEPS, "steps=1", "seed=1,2", "hydra.sweep.dir=sweep")
    assert ran.code == 0, ran.err
    assert "trained" in ran.out
    assert json.loads(Path("sweep/numbers.json").read_text())["rows"] == [{"number": 1}, {"number": 1}]
    assert Path("sweep/figures/measurement.png").is_file()
    assert not Path("sweep/0/numbers.json").exists()


@pytest.mark.slow
@pytest.mark.slow
def test_finished_sweep_is_judged_by_a_new_measurement(ebm: Ebm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its runs are not repeated, also one whose hash still counts the measurement, as earlier versions stored it."""
    no_pictures(monkeypatch)
    words = ("train", "-m", *FAST, "steps=1", "seed=1,2", "hydra.sweep.dir=sweep")
    assert ebm(*words, STEPS).code == 0
    files = [Path(f"sweep/{i}/status.json") for i in (0, 1)]
    files[0].write_text(json.dumps(json.loads(files[0].read_text()) | {"config_hash": "with the measurement"}))
    before = [file.read_text() for file in files]
    again = ebm(*words, STEPS.replace("2}", "3}"))
    assert again.code == 1
    assert "steps 2 not ≥ 3" in again.out
    assert [file.read_text() for file in files] == before


def test_finished_run_is_judged_by_a_new_measurement(ebm: Ebm, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is not repeated; its verdict, numbers and figure are those of the measurement that is asked for now."""
    no_pictures(monkeypatch)
    words = ("train", *FAST, "steps=1", "hydra.run.dir=run")
    assert ebm(*words, STEPS.replace("2}", "1}")).code == 0
    before, figure = Path("run/status.json").read_text(), Path("run/figures/measurement.png")
    figure.unlink()
    again = ebm(*words, STEPS)
    assert again.code == 1
    assert "steps 1 not ≥ 2" in again.out
    assert (Path("run/status.json").read_text(), figure.is_file()) == (before, True)
    assert ebm(*words, STEPS.replace("2}", "1}")).code == 0


def test_measurement_on_one_run_fails_if_it_does_not_hold(ebm: Ebm, monkeypatch: pytest.MonkeyPatch) -> None:
    no_pictures(monkeypatch)
    ran = ebm("train", *FAST, STEPS, "steps=1", "hydra.run.dir=run")
    assert ran.code == 1
    assert "steps 1 not ≥ 2" in ran.out

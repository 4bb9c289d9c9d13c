"""Flags behind a verb."""

import pytest

from ebm_cli.cli.flags import WrongFlag, parse
from tests.support import Ebm


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--multirnu"], "no flag '--multirnu'; did you mean --multirun?"),
        (["--batch-size=64"], "no flag '--batch-size'; a key is typed without dashes: batch_size=64"),
        (["--steps", "100"], "no flag '--steps'; a key is typed without dashes: steps=100"),
        (["-n", "3"], "no flag '-n'"),
        (["--config-dir"], "argument --config-dir/-cd: expected one argument"),
        (["--cfg", "jb"], "argument --cfg/-c: invalid choice: 'jb' (choose from 'job', 'hydra', 'all')"),
        (["--resolve"], "--resolve needs --cfg job: it resolves interpolations in the config that is printed"),
    ],
)
def test_wrong_flag_exits_with_2(ebm: Ebm, words: list[str], line: str) -> None:
    ran = ebm("train", *words)
    assert (ran.code, ran.out, ran.err.splitlines()) == (2, "", [f"ebm: {line}"])


def test_parse_separates_flags_and_overrides() -> None:
    args = parse(["seed=1,2", "-m", "--config-dir=mine", "steps=3"])
    assert (args.overrides, args.multirun, args.config_dir) == (["seed=1,2", "steps=3"], True, "mine")
    assert parse(["--cfg", "job"]).cfg == "job"
    assert (args.info, parse(["--info"]).info, parse(["-i", "defaults"]).info) == (None, "all", "defaults")


def test_two_modes_do_not_go_together() -> None:
    with pytest.raises(WrongFlag, match="--multirun and --cfg do not go together"):
        parse(["-m", "--cfg", "job"])


def test_parse_does_not_print(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(WrongFlag):
        parse(["--info", "nothing"])
    assert capfd.readouterr() == ("", "")

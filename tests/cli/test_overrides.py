"""Overrides as typed, and as Hydra reads them."""

from ebm_cli.cli.overrides import prepare


def test_nested_groups_are_spelled_as_hydra_reads_them() -> None:
    typed = ["eval.sampler=tempering", "eval.sampler.kernel=hmc", "sampler.kernel=hmc", "sampler.kernel.step_size=0.1"]
    words, _ = prepare("train", typed)
    spelled = ["sampler@eval.sampler=tempering", "sampler@eval.sampler.kernel=hmc", "sampler@sampler.kernel=hmc"]
    assert words == [*spelled, "sampler.kernel.step_size=0.1"]

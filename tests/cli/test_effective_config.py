"""The effective config: that of a resumed run is the stored one; a class typed by name keeps no foreign keys."""

from pathlib import Path

import pytest

from tests.support import Ebm, StandIn


@pytest.mark.parametrize("path", ["run", "run/checkpoints/last.pt"])
def test_run_is_resumed_in_its_own_directory(ebm: Ebm, stand_in: StandIn, trained: Path, path: str) -> None:
    seen = stand_in("train")
    before = (trained / ".hydra" / "config.yaml").read_bytes()
    ran = ebm("train", f"checkpoint={path}", "steps=12", "log_every=3")
    assert ran.code == 0, ran.err
    [cfg] = seen
    assert (cfg.steps, cfg.log_every, cfg.sampler.step_size, cfg.checkpoint) == (12, 3, 0.007, path)
    assert (trained / ".hydra" / "config.yaml").read_bytes() == before
    assert sorted(trained.parent.iterdir()) == [trained]


@pytest.mark.parametrize("word", ["seed=3", "sampler.step_size=0.1", "method=cd", "batch_size=3"])
def test_resume_refuses_to_change_the_training(ebm: Ebm, stand_in: StandIn, trained: Path, word: str) -> None:
    seen = stand_in("train")
    ran = ebm("train", "checkpoint=run", word)
    assert ran.err.startswith(f"ebm: {word.partition('=')[0]}: cannot change when a run is ")
    assert (ran.code, len(ran.err.splitlines()), seen) == (1, 1, [])


def test_resume_refuses_keys_of_a_group_that_is_off_by_default(ebm: Ebm, trained: Path) -> None:
    ran = ebm("train", "checkpoint=run", "polish.lr=1e-4")
    assert ran.err == "ebm: polish.lr: cannot change when a run is continued; start a new run to change it\n"


@pytest.mark.parametrize("verb", ["sample", "train"])
def test_stored_config_names_no_foreign_class(ebm: Ebm, stand_in: StandIn, trained: Path, verb: str) -> None:
    stored = trained / "config.yaml"
    stored.write_text(stored.read_text().replace("ebm_cli.samplers.langevin.Langevin", "evil.Sampler"))
    (trained.parent / "evil.py").write_text("open('executed', 'w')\nclass Sampler: pass\n")
    seen = stand_in(verb)
    ran = ebm(verb, "checkpoint=run")
    assert ran.err.startswith("ebm: sampler._target_=evil.Sampler: a stored config may name only classes of ebm_cli")
    assert (ran.code, seen) == (1, [])
    assert not (trained.parent / "executed").exists()


@pytest.fixture
def _my_package(tmp_path: Path) -> None:
    """A package of the user's in the current folder, and an option that names its class."""
    (tmp_path / "my_package.py").write_text(
        "from ebm_cli.energies import Energy\n"
        "class Bowl(Energy):\n"
        "    def __init__(self, shape: tuple[int, ...], rim: float = 1.0) -> None:\n"
        "        super().__init__()\n"
        "    def forward(self, x):\n"
        "        return x\n"
    )
    (tmp_path / "mine" / "energy").mkdir(parents=True)
    (tmp_path / "mine" / "energy" / "bowl.yaml").write_text(
        "# A bowl\n_target_: my_package.Bowl\nrim: 2.0  # its rim\n"
    )


@pytest.mark.usefixtures("_my_package")
def test_users_option_names_a_class_of_their_package(ebm: Ebm, stand_in: StandIn) -> None:
    seen = stand_in("train")
    assert ebm("train", "--config-dir", "mine", "energy=bowl", "energy.rim=3").code == 0
    assert ebm("train", "--config-dir", "mine", "energy=bowl", "energy.rim=x").err == (
        "ebm: energy.rim must be a number, got 'x'\n"
    )
    assert [cfg.energy.rim for cfg in seen] == [3]


@pytest.mark.usefixtures("_my_package")
def test_typed_class_drops_keys_of_the_replaced_option(ebm: Ebm, stand_in: StandIn) -> None:
    """Keys that were typed stay, and are refused if the class does not have them."""
    seen = stand_in("train")
    assert ebm("train", "energy._target_=my_package.Bowl").code == 0
    assert ebm("train", "energy._target_=my_package.Bowl", "+energy.rim=4").code == 0
    assert ebm("train", "energy._target_=my_package.Bowl", "energy.width=4").err == (
        "ebm: energy.width: no such key in Bowl\n"
    )
    assert [cfg.energy.get("rim") for cfg in seen] == [None, 4]
    assert "width" not in seen[0].energy


@pytest.mark.parametrize(
    ("words", "fallback"),
    [
        ((), "auto"),
        (("eval.n_chains=20",), "auto"),
        (("eval.sampler=mala",), "none"),
        (("eval.sampler.step_size=0.1",), "none"),
        (("eval.sampler=hmc", "eval.fallback=tempering"), "tempering"),
        (("eval.fallback=none",), "none"),
    ],
)
def test_a_sampler_that_was_typed_is_respected(
    ebm: Ebm, stand_in: StandIn, words: tuple[str, ...], fallback: str
) -> None:
    seen = stand_in("train")
    assert ebm("train", *words).code == 0
    assert seen[0].eval.fallback == fallback

"""The sampler of `ebm sample`: the stored one, unless another is typed."""

from pathlib import Path

from tests.support import Ebm, StandIn


def test_sample_uses_the_stored_sampler(ebm: Ebm, stand_in: StandIn, trained: Path) -> None:
    seen = stand_in("sample")
    for word in ("seed=0", "sampler.noise_scale=0", "sampler=mala"):
        assert ebm("sample", "checkpoint=run", word).code == 0
    stored, without_noise, mala = seen
    assert (stored.sampler.step_size, stored.sampler.noise_scale) == (0.007, 1.0)
    assert (without_noise.sampler.step_size, without_noise.sampler.noise_scale) == (0.007, 0)
    assert mala.sampler.step_size == 0.05
    assert len(list((trained / "sample").iterdir())) == 3


def test_stored_sampler_may_be_swept(ebm: Ebm, stand_in: StandIn, trained: Path) -> None:
    seen = stand_in("sample")
    assert ebm("sample", "checkpoint=run", "-m", "sampler.noise_scale=0,1").code == 0
    assert [(cfg.sampler.noise_scale, cfg.sampler.step_size) for cfg in seen] == [(0, 0.007), (1, 0.007)]


def test_sample_requires_a_checkpoint(ebm: Ebm, stand_in: StandIn, tmp_path: Path) -> None:
    seen = stand_in("sample")
    assert ebm("sample", "checkpoint=no")[::2] == (1, "ebm: checkpoint=no: no such file or directory\n")
    assert seen == []
    assert list(tmp_path.iterdir()) == []

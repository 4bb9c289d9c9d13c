"""Answers to an unknown key."""

import pytest

from ebm_cli.cli.unknown_keys import explain_unknown_key
from ebm_cli.config.groups import conf_dir


@pytest.mark.parametrize(
    ("verb", "word", "line"),
    [
        ("train", "optimiser.lr=1", "optimiser.lr: no such key; did you mean optimizer.lr?"),
        ("train", "replica=2", "replica: no such key; did you mean replicas?"),
        ("train", "job=2", "job: no such key; did you mean jobs?"),
        ("train", "output=there", "output: no such key; did you mean hydra.run.dir?"),
        ("train", "noise_dim=3", "noise_dim: no such key; see ebm train --help"),
        ("train", "optimizer.momentum=1", "optimizer.momentum: no such key; optimizer=sgd has it"),
        ("train", "radii=[1]", "radii: no such key; dataset=circles and dataset=rings have dataset.density.radii"),
        (
            "train",
            "step_size=1",
            "step_size: no such key; did you mean sampler.step_size or eval.sampler.step_size?",
        ),
        (
            "train",
            "which=best",
            "which: no such key of ebm train; it is one of ebm density, ebm evaluate and ebm sample",
        ),
        ("sample", "eval_every=3", "eval_every: no such key of ebm sample; it is one of ebm train"),
        ("train", f"data={'a' * 300}", "data: no such key of ebm train; it is one of ebm density"),
        ("train", "data=my.csv", "data: no such key; write dataset=file dataset.path=my.csv"),
        ("train", "dataset.path=a b.csv", "dataset.path: no such key; write dataset=file \"dataset.path='a b.csv'\""),
    ],
)
def test_unknown_key_is_explained_by_what_is_meant(verb: str, word: str, line: str) -> None:
    key = word.partition("=")[0]
    assert explain_unknown_key(key, None, verb, (conf_dir(),), [word]) == line

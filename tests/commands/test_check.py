"""`ebm check`: a sound package passes, a broken part is named, and a wrong value is one line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from ebm_cli.commands import check
from ebm_cli.config.groups import conf_dir, group_options
from ebm_cli.selftest import SUBJECTS, Harness, Row
from tests.support import Ebm


@pytest.mark.slow
def test_check_passes_and_leaves_no_file(ebm: Ebm, tmp_path: Path) -> None:
    ran = ebm("check")
    assert (ran.code, ran.err) == (0, "")
    assert list(tmp_path.iterdir()) == []
    assert "FAILED" not in ran.out
    assert "torch 2." in ran.out.splitlines()[0]
    assert ran.out.splitlines()[-1] == "All checks that this machine can run passed."
    sections = {line.strip(): i for i, line in enumerate(ran.out.splitlines()) if line.strip() in SUBJECTS}
    assert list(sections) == list(SUBJECTS)
    groups = {"derivatives": "energy", "densities": "noise", "datasets": "dataset"}
    groups |= {"samplers": "sampler", "methods": "method"}
    ends = [*list(sections.values())[1:], len(ran.out.splitlines())]
    for (name, start), end in zip(sections.items(), ends, strict=True):
        listed = {word for line in ran.out.splitlines()[start:end] for word in line.split()[1:2]}
        assert name not in groups or set(group_options(groups[name], [conf_dir()])) <= listed
    assert "\nfile: dataset.path must name a .npy" in ran.out


def of_options(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Checks of a few options stand for those of all, which take seconds."""
    every = Harness.options
    monkeypatch.setattr(Harness, "options", lambda harness, group: [n for n in every(harness, group) if n in names])


def test_check_names_a_broken_sampler_of_the_user(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_options(monkeypatch, "eager", "metropolis")
    (tmp_path / "mine" / "sampler").mkdir(parents=True)
    (tmp_path / "mine" / "sampler" / "eager.yaml").write_text(
        "# Never refuses\n_target_: eager.Eager\nstep_size: 0.1\n"
    )
    (tmp_path / "eager.py").write_text(
        "from dataclasses import dataclass\n"
        "from ebm_cli.samplers import Info, Kernel\n"
        "from ebm_cli.samplers.metropolis import Metropolis\n\n"
        "@dataclass(frozen=True)\n"
        "class Eager(Kernel):\n"
        "    target_accept = 0.234\n\n"
        "    def init(self, energy, x, rng):\n"
        "        return Metropolis(self.step_size, self.temperature).init(energy, x, rng)\n\n"
        "    def step(self, energy, state, rng):\n"
        "        _, info = Metropolis(self.step_size, self.temperature).step(energy, state, rng)\n"
        "        moved, _ = Metropolis(self.step_size, 1e9).step(energy, state, rng)\n"
        "        return moved, info\n"
    )
    ran = ebm("check", "--config-dir", "mine", "only=samplers")
    assert ran.code == 1
    failed = [line.split()[1:3] for line in ran.out.splitlines() if line.startswith("FAILED")]
    assert failed == [["eager", "mean"], ["eager", "mean"], ["eager", "distribution,"]]
    assert ran.err.startswith("ebm: 3 of ")
    assert "checks FAILED: samplers eager mean and variance at T = 1; samplers eager mean" in ran.err
    assert len(ran.err.splitlines()) == 1
    assert "passed" not in ran.out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["only=sampler"], "ebm: only=sampler: must be all, or among device, derivatives, densities, datasets, "),
        (["only=[samplers,device,densitys]"], "ebm: only=densitys: must be all, or among "),
        (["only=[]"], "ebm: only=[]: must be all, or among "),
        (["only=3"], "ebm: only must be text or a list of texts, got 3"),
        (["seed=-1"], "ebm: seed must be >= 0, got -1"),
        (["device=gpu"], "ebm: device must be one of auto, cpu, cuda, mps, got 'gpu'"),
        (["sede=1"], "ebm: sede: no such key; did you mean seed?"),
    ],
)
def test_check_answers_a_wrong_value_with_one_line(ebm: Ebm, words: list[str], line: str) -> None:
    ran = ebm("check", *words)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(line)
    assert len(ran.err.splitlines()) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_check_skips_a_missing_device_unless_it_is_asked_for(ebm: Ebm, monkeypatch: pytest.MonkeyPatch) -> None:
    of_options(monkeypatch, "mlp", "mala", "nce")
    line = "ebm: device=cuda is not available on this machine; try device=auto, or device=cpu\n"
    assert (asked := ebm("check", "device=cuda")) == (1, "", line), asked
    ran = ebm("check", "only=device")
    assert ran.code == 0
    assert "cuda: this machine has no cuda device" in ran.out
    assert "ok " in ran.out


def test_check_of_a_gpu_ends_in_a_report(ebm: Ebm, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the two subjects that compute there; the CPU stands for the GPU."""
    rows = {"device": [Row("cuda float32", "matrix products", "ok", 2e-6, 1e-3, "relative")]}
    rows["training"] = [
        Row("nce", "time of a step", "ok", 0.4567, None, "ms"),
        Row("cd", "waits in 3 steps (a.py:1)", "FAILED", 3, 0.0, "waits"),
        Row("cd", "memory returned", "skipped", reason="torch does not say"),
    ]
    monkeypatch.setattr(check, "_devices", lambda cfg: [torch.device("cpu")])
    monkeypatch.setattr(check, "examine", lambda harness, subject: rows[subject])
    ran = ebm("check", "device=cuda")
    assert ran.code == 1
    _, told, _ = ran.out.split("```")
    first, machine, counts, *lines = told.strip().splitlines()
    assert (first, "torch 2." in machine) == ("ebm check device=cuda", True)
    assert counts.startswith("2 ok, 1 failed, 1 skipped, in ")
    assert lines == [
        "FAILED | training | cd | waits in 3 steps (a.py:1) | 3 waits (at most 0)",
        "ok | device | cuda float32 | matrix products | 2e-06 relative (at most 0.001)",
        "ok | training | nce | time of a step | 0.457 ms",
        "skipped | training | cd | memory returned | torch does not say",
    ]
    assert "```" not in ebm("check", "only=device").out


def test_check_ends_with_130_when_interrupted(ebm: Ebm, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(harness: Harness) -> Iterator[Any]:
        raise KeyboardInterrupt

    monkeypatch.setitem(SUBJECTS, "device", interrupt)
    ran = ebm("check")
    assert (ran.code, ran.err) == (130, "ebm: interrupted\n")


def test_check_names_five_failures_and_counts_the_rest(ebm: Ebm, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [Row(f"part{i}", "", "FAILED", reason="broken") for i in range(7)]
    monkeypatch.setattr(check, "examine", lambda harness, subject: rows)
    ran = ebm("check", "only=device")
    assert ran.code == 1
    assert ran.err.endswith(
        "7 of 7 checks FAILED: device part0; device part1; device part2; device part3; device part4; and 2 more\n"
    )

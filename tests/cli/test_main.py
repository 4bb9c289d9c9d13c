"""The command: its pages, its exit codes, and one line for each way to be wrong."""

import gc
import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ebm_cli.cli import main
from ebm_cli.cli.completion import candidates
from ebm_cli.cli.help import verbs
from ebm_cli.commands import runs
from ebm_cli.config.groups import options, search_path
from ebm_cli.errors import UserError
from tests.support import REPO, Ebm, StandIn


def python(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPO), **env}
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment, check=False)


# --- pages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_without_a_verb_the_verbs_are_listed(ebm: Ebm, words: tuple[str, ...]) -> None:
    ran = ebm(*words)
    assert ran.code == 0
    for verb, text in verbs().items():
        assert any(line.split() == ["ebm", verb, *text.split()] for line in ran.out.splitlines())


def test_every_listed_verb_is_a_module() -> None:
    for verb in verbs():
        assert (REPO / "ebm_cli" / "commands" / f"{verb}.py").is_file()


def test_version(ebm: Ebm) -> None:
    ran = ebm("--version")
    assert ran.code == 0
    assert [line.split()[0] for line in ran.out.splitlines()] == ["ebm", "python", "torch", "hydra"]
    assert ebm("train", "--version").out == ran.out


def test_help_of_a_verb_lists_options_and_keys(ebm: Ebm) -> None:
    out = ebm("train", "--help").out
    for group in ("dataset", "energy", "method", "sampler", "noise", "optimizer", "schedule"):
        for option, text in options(group, search_path()).items():
            assert text
            assert f"{option} " in out
            assert text in out
    assert "sampler.step_size=0.05" in out
    assert "noise_scale" not in out
    assert "sampler.noise_scale=1.0" in ebm("train", "sampler=langevin", "--help").out


def test_help_knows_what_an_option_chooses_for_another_group(ebm: Ebm) -> None:
    assert "\nnoise=gaussian\n" in ebm("train", "--help").out
    assert "\nnoise=flow\n" in ebm("train", "method=fce", "--help").out
    assert "\nnoise=uniform\n" in ebm("train", "noise=uniform", "method=fce", "--help").out


@pytest.mark.parametrize(("words", "rows"), [(["energy=conv", "method=sm"], "64"), (["method=sm"], "512")])
def test_help_knows_what_two_options_together_choose(ebm: Ebm, words: list[str], rows: str) -> None:
    _, out, _ = ebm("train", *words, "--help")
    line = next(line for line in out.splitlines() if line.startswith("  batch_size="))
    assert line.split()[0] == f"batch_size={rows}"


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = f"{sys.executable} -m ebm_cli train --help | head -n 1; exit ${{PIPESTATUS[0]}}"
    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert ran.returncode == 0
    assert ran.stderr == ""
    assert ran.stdout.startswith("ebm train: ")


def test_help_honours_config_dir(ebm: Ebm, tmp_path: Path) -> None:
    (tmp_path / "mine" / "energy").mkdir(parents=True)
    (tmp_path / "mine" / "energy" / "bowl.yaml").write_text(
        "# A bowl of my own\n_target_: my.Bowl\nrim: 2  # its rim\n"
    )
    out = ebm("train", "--config-dir", "mine", "energy=bowl", "--help").out
    assert "* bowl" in out
    assert "A bowl of my own" in out
    assert "energy.rim=2" in out


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["--version"], ["trian"], ["-sc", "query=bash"]])
def test_answers_at_once_and_without_torch(words: list[str]) -> None:
    """Neither torch nor Hydra is imported; the whole process takes well under half a second of work."""
    code = (
        f"import sys; from ebm_cli.cli.main import main; main({words!r}); print(sorted(sys.modules), file=sys.stderr)"
    )
    before = os.times()
    ran = python("-c", code, COMP_LINE="ebm train method=")
    after = os.times()
    modules = ran.stderr
    assert "'ebm_cli.cli.main'" in modules
    for heavy in ("torch", "hydra", "omegaconf", "numpy", "matplotlib", "rich"):
        assert f"'{heavy}'" not in modules
    # CPU time, which another process on the same machine does not lengthen.
    assert after.children_user - before.children_user + after.children_system - before.children_system < 0.5


def test_cfg_job_and_info_need_no_torch() -> None:
    for words in (["train", "--cfg", "job"], ["train", "--info", "defaults"]):
        code = f"import sys; from ebm_cli.cli.main import main; main({words!r}); sys.exit('torch' in sys.modules)"
        ran = python("-c", code)
        assert ran.returncode == 0, ran.stderr
        assert "method" in ran.stdout


# --- wrong verbs and flags: exit 2 ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["trian"], "ebm: no verb 'trian'; did you mean train?"),
        (["smaple"], "ebm: no verb 'smaple'; did you mean sample?"),
        (["method=nce"], "ebm: no verb before 'method=nce'; did you mean ebm train method=nce?"),
        (["--verison"], "ebm: no flag '--verison' before the verb; did you mean --version?"),
        (["train", "--multirnu"], "ebm: no flag '--multirnu'; did you mean --multirun?"),
        (["train", "--config-dir"], "ebm: argument --config-dir/-cd: expected one argument"),
        (["train", "--cfg", "jb"], "ebm: argument --cfg/-c: invalid choice: 'jb' (choose from 'job', 'hydra', 'all')"),
    ],
)
def test_a_wrong_verb_or_flag(ebm: Ebm, words: list[str], line: str) -> None:
    ran = ebm(*words)
    assert (ran.code, ran.out, ran.err.splitlines()) == (2, "", [line])


# --- wrong groups, keys and values: exit 1, one line, nothing made ----------------------------------------------------


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("method=ncee", "method=ncee: no such option; did you mean nce? (cd, "),
        ("dataset=mons", "dataset=mons: no such option; did you mean moons? (banana, "),
        ("eval.sampler=mla", "sampler=mla: no such option; did you mean mala? (hmc, "),
        ("method=null", "method=null: method takes the name of an option (cd, "),
        ("methd=nce", "methd: no such key; did you mean method?"),
        ("stepz=3", "stepz: no such key; did you mean steps?"),
        ("qqqq=3", "qqqq: no such key; see ebm train --help"),
        ("+stepz=3", "stepz: no such key; did you mean steps?"),
        ("energy.widht=3", "energy.widht: no such key in energy; did you mean width?"),
        ("+energy.widht=3", "energy.widht: no such key in MLP; did you mean width?"),
        ("steps", "steps: cannot be read as key=value (missing EQUAL at '<EOF>')"),
        ("steps==3", "steps==3: cannot be read as key=value (extraneous input '=')"),
        ("seed=0,1", "seed=0,1: names several values; add -m to sweep over them, or write seed=[0,1] for a list"),
        ("steps=abc", "steps must be a whole number, got 'abc'"),
        ("steps=2.5", "steps must be a whole number, got 2.5"),
        ("steps=true", "steps must be a whole number, got True"),
        ("steps=null", "steps must be a whole number, got None"),
        ("steps=0", "steps must be >= 1, got 0"),
        ("batch_size=-1", "batch_size must be >= 1, got -1"),
        ("max_seconds=0", "max_seconds must be > 0, got 0"),
        ("ema=1", "ema must be >= 0 and < 1, got 1"),
        ("ema=nan", "ema must be a number, got nan"),
        ("guard=rollbak", "guard must be one of stop, rollback, ignore, got 'rollbak'; did you mean rollback?"),
        ("device=cdua", "device must be one of auto, cpu, cuda, mps, got 'cdua'; did you mean cuda?"),
        ("threads=0", "threads must be >= 1, got 0"),
        ("trust=my_package", "trust must be a list of texts, got 'my_package'"),
        ("sampler.step_size=-1.0", "sampler.step_size must be > 0, got -1.0"),
        ("sampler.step_size=big", "sampler.step_size must be a number, got 'big'"),
        ("sampler.step_size=???", "sampler.step_size is required"),
        ("eval.sampler.step_size=-1.0", "eval.sampler.step_size must be > 0, got -1.0"),
        ("eval.n_samples=1", "eval.n_samples must be >= 10, got 1"),
        ("energy.width=${no.such}", "energy.width=${no.such}: Interpolation key 'no.such' not found"),
        ("energy._target_=os.system", "energy._target_=os.system: must name a class, not a builtin_function_or_method"),
        ("energy._target_=nowhere.Energy", "energy._target_=nowhere.Energy: there is no module nowhere"),
        (
            "energy._target_=ebm_cli.energies.MPL",
            "energy._target_=ebm_cli.energies.MPL: ebm_cli.energies has no MPL; did you mean MLP?",
        ),
        ("checkpoint=nowhere", "checkpoint=nowhere: not a run directory (no config.yaml), so it cannot be continued"),
        ("--config-dir=nowhere", "Additional config directory '"),
    ],
)
def test_a_mistake_ends_in_one_line(ebm: Ebm, stand_in: StandIn, tmp_path: Path, word: str, line: str) -> None:
    seen = stand_in("train")
    ran = ebm("train", word)
    assert ran.err.startswith(f"ebm: {line}")
    assert len(ran.err.splitlines()) == 1
    assert (ran.code, ran.out, seen) == (1, "", [])
    assert list(tmp_path.iterdir()) == []


def test_a_good_config_runs_in_a_directory_of_its_own(ebm: Ebm, stand_in: StandIn, tmp_path: Path) -> None:
    seen = stand_in("train")
    assert ebm("train", "steps=7").code == 0
    assert [cfg.steps for cfg in seen] == [7]
    assert [path.name for path in tmp_path.glob("outputs/train/*/*/.hydra/config.yaml")] == ["config.yaml"]
    assert [path.name for path in tmp_path.glob("outputs/train/*/*/train.log")] == ["train.log"]


def test_the_traceback_is_shown_when_asked_for(
    ebm: Ebm, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stand_in("train")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    ran = ebm("train", "stepz=3")
    assert "Traceback" in ran.err
    assert ran.err.splitlines()[-1] == "ebm: stepz: no such key; did you mean steps?"
    assert os.environ["HYDRA_FULL_ERROR"] == "1"
    assert list(tmp_path.iterdir()) == []


class Diverges(Exception):
    exit_code = 3


def fail_with(error: BaseException) -> Any:
    def task(cfg: Any) -> None:
        raise error

    return task


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("no"), 1, "ebm: no"),
        (Diverges("step 3: the loss is not finite"), 3, "ebm: step 3: the loss is not finite"),
        (KeyboardInterrupt(), 130, "ebm: interrupted"),
        (ZeroDivisionError("x"), 1, "ebm: ZeroDivisionError: x (test_main.py:"),
    ],
)
def test_exit_codes(ebm: Ebm, stand_in: StandIn, error: BaseException, code: int, line: str) -> None:
    stand_in("train", fail_with(error))
    ran = ebm("train")
    assert ran.code == code
    assert ran.err.startswith(line)
    assert len(ran.err.splitlines()) == 1


# --- hooks and sweeps -------------------------------------------------------------------------------------------------


def test_hooks_come_before_the_directory(ebm: Ebm, stand_in: StandIn, tmp_path: Path) -> None:
    calls: list[Any] = []

    def reserve(cfg: Any, run_dir: Path, *, lock: bool) -> None:
        calls.append(("reserve", run_dir, lock, run_dir.exists()))

    stand_in("train", lambda cfg: calls.append("train"), validate=lambda cfg: calls.append("validate"), reserve=reserve)
    assert ebm("train", "hydra.run.dir=here").code == 0
    assert calls == ["validate", ("reserve", tmp_path / "here", True, False), "train"]


@pytest.mark.parametrize("hook", ["validate", "reserve"])
def test_a_hook_refuses_before_the_directory(ebm: Ebm, stand_in: StandIn, tmp_path: Path, hook: str) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise UserError("taken")

    seen = stand_in("train", **{hook: refuse})
    for words in ([], ["-m", "seed=1,2"]):
        ran = ebm("train", *words)
        assert (ran.code, ran.err, seen) == (1, "ebm: taken\n", [])
        assert list(tmp_path.iterdir()) == []


def test_a_sweep_runs_every_job(ebm: Ebm, stand_in: StandIn, tmp_path: Path) -> None:
    claimed: list[Any] = []
    seen = stand_in("train", reserve=lambda cfg, path, lock: claimed.append((path.name, lock)))
    assert ebm("train", "-m", "seed=1,2", "sampler=hmc,langevin").code == 0
    assert [(cfg.seed, cfg.sampler._target_.rpartition(".")[2]) for cfg in seen] == [
        (1, "HMC"), (1, "Langevin"), (2, "HMC"), (2, "Langevin"),
    ]  # fmt: skip
    assert claimed == [("0", False), ("1", False), ("2", False), ("3", False)]
    assert sorted(path.name for path in tmp_path.glob("outputs/multirun/*/*/*/train.log")) == ["train.log"] * 4


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("sampler.step_size=0.1,-1", "ebm: sampler.step_size must be > 0, got -1"),
        ("method=nce,ncee", "ebm: method=ncee: no such option; did you mean nce? ("),
    ],
)
def test_a_sweep_with_one_bad_job_runs_none(ebm: Ebm, stand_in: StandIn, tmp_path: Path, word: str, line: str) -> None:
    seen = stand_in("train")
    ran = ebm("train", "-m", word)
    assert ran.err.startswith(line)
    assert (ran.code, len(ran.err.splitlines()), seen) == (1, 1, [])
    assert list(tmp_path.iterdir()) == []


def test_launchers_can_send_a_task_to_another_process() -> None:
    from omegaconf import OmegaConf

    from ebm_cli.cli.hydra_app import Task
    from ebm_cli.cli.sweep_failures import JobFailed

    assert pickle.loads(pickle.dumps(Task("train", traceback=True))) == Task("train", traceback=True)
    failed = pickle.loads(pickle.dumps(JobFailed(3, OmegaConf.create({"seed": 1}), Path("sweep"), "why")))
    assert (failed.exit_code, failed.cfg, failed.sweep_dir, failed.line) == (3, {"seed": 1}, Path("sweep"), "why")


def test_a_sweep_goes_on_behind_a_job_that_fails(ebm: Ebm, stand_in: StandIn) -> None:
    def task(cfg: Any) -> None:
        if cfg.seed != 2:
            raise Diverges(f"seed {cfg.seed} diverged")

    seen = stand_in("train", task)
    ran = ebm("train", "-m", "seed=1,2,3")
    assert [cfg.seed for cfg in seen] == [1, 2, 3]
    assert ran.code == 3
    lines = [line for line in ran.err.splitlines() if line.startswith("ebm: ")]
    failed = ["job 0 (seed=1): seed 1 diverged", "job 2 (seed=3): seed 3 diverged"]
    assert lines[:2] == [f"ebm: {line}" for line in failed]
    assert lines[2].startswith("ebm: jobs that failed: 2; the same command with hydra.sweep.dir=/")
    assert lines[3:] == [f"ebm: {line}" for line in failed]


# --- continuing, sampling: a stored config ----------------------------------------------------------------------------


@pytest.fixture
def trained(ebm: Ebm, stand_in: StandIn, tmp_path: Path) -> Path:
    """A run directory with a stored config, as `ebm train` leaves it."""
    from omegaconf import OmegaConf

    seen = stand_in("train")
    assert ebm("train", "sampler=langevin", "sampler.step_size=0.007", "steps=11", "hydra.run.dir=run").code == 0
    OmegaConf.save(seen[0], tmp_path / "run" / "config.yaml", resolve=True)
    (tmp_path / "run" / "checkpoints").mkdir()
    (tmp_path / "run" / "checkpoints" / "last.pt").write_bytes(b"")
    return tmp_path / "run"


@pytest.mark.parametrize("path", ["run", "run/checkpoints/last.pt"])
def test_a_run_is_continued_in_its_own_directory(ebm: Ebm, stand_in: StandIn, trained: Path, path: str) -> None:
    seen = stand_in("train")
    noted = (trained / ".hydra" / "config.yaml").read_bytes()
    ran = ebm("train", f"checkpoint={path}", "steps=12", "log_every=3")
    assert ran.code == 0, ran.err
    [cfg] = seen
    assert (cfg.steps, cfg.log_every, cfg.sampler.step_size, cfg.checkpoint) == (12, 3, 0.007, path)
    assert (trained / ".hydra" / "config.yaml").read_bytes() == noted
    assert sorted(trained.parent.iterdir()) == [trained]


@pytest.mark.parametrize("word", ["seed=3", "sampler.step_size=0.1", "method=cd", "batch_size=3"])
def test_what_was_trained_cannot_be_changed(ebm: Ebm, stand_in: StandIn, trained: Path, word: str) -> None:
    seen = stand_in("train")
    ran = ebm("train", "checkpoint=run", word)
    assert ran.err.startswith(f"ebm: {word.partition('=')[0]}: cannot change when a run is continued; only ")
    assert (ran.code, len(ran.err.splitlines()), seen) == (1, 1, [])


def test_samples_are_drawn_with_the_stored_sampler(ebm: Ebm, stand_in: StandIn, trained: Path) -> None:
    seen = stand_in("sample")
    for word in ("seed=0", "sampler.noise_scale=0", "sampler=mala"):
        assert ebm("sample", "checkpoint=run", word).code == 0
    plain, still, other = seen
    assert (plain.sampler.step_size, plain.sampler.noise_scale) == (0.007, 1.0)
    assert (still.sampler.step_size, still.sampler.noise_scale) == (0.007, 0)
    assert other.sampler.step_size == 0.05
    assert len(list((trained / "sample").iterdir())) == 3


def test_a_sampler_may_be_swept(ebm: Ebm, stand_in: StandIn, trained: Path) -> None:
    seen = stand_in("sample")
    assert ebm("sample", "checkpoint=run", "-m", "sampler.noise_scale=0,1").code == 0
    assert [(cfg.sampler.noise_scale, cfg.sampler.step_size) for cfg in seen] == [(0, 0.007), (1, 0.007)]


def test_sample_asks_for_a_checkpoint(ebm: Ebm, stand_in: StandIn, tmp_path: Path) -> None:
    seen = stand_in("sample")
    assert ebm("sample")[::2] == (1, "ebm: checkpoint is required\n")
    assert ebm("sample", "checkpoint=no")[::2] == (1, "ebm: checkpoint=no: no such file or directory\n")
    assert seen == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["sample", "train"])
def test_a_stored_config_names_nothing_foreign(ebm: Ebm, stand_in: StandIn, trained: Path, verb: str) -> None:
    stored = trained / "config.yaml"
    stored.write_text(stored.read_text().replace("ebm_cli.samplers.langevin.Langevin", "evil.Sampler"))
    (trained.parent / "evil.py").write_text("open('executed', 'w')\nclass Sampler: pass\n")
    seen = stand_in(verb)
    ran = ebm(verb, "checkpoint=run")
    assert ran.err.startswith("ebm: sampler._target_=evil.Sampler: a stored config may name only classes of ebm_cli")
    assert (ran.code, seen) == (1, [])
    assert not (trained.parent / "executed").exists()


def test_the_users_own_package_works_from_any_folder(ebm: Ebm, stand_in: StandIn, tmp_path: Path) -> None:
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
    seen = stand_in("train")
    assert ebm("train", "--config-dir", "mine", "energy=bowl", "energy.rim=3").code == 0
    assert ebm("train", "--config-dir", "mine", "energy=bowl", "energy.rim=x").err == (
        "ebm: energy.rim must be a number, got 'x'\n"
    )
    # Typed alone, the class leaves behind the keys of the option that it replaces, and only those.
    assert ebm("train", "energy._target_=my_package.Bowl").code == 0
    assert ebm("train", "energy._target_=my_package.Bowl", "+energy.rim=4").code == 0
    assert ebm("train", "energy._target_=my_package.Bowl", "energy.width=4").err == (
        "ebm: energy.width: no such key in Bowl\n"
    )
    assert [cfg.energy.get("rim") for cfg in seen] == [3, None, 4]
    assert "width" not in seen[1].energy


# --- completion -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "some"),
    [
        ("ebm ", {"train", "sample", "runs", "--help"}),
        ("ebm tr", {"train"}),
        ("ebm train ", {"method=", "dataset=", "steps=", "sampler.step_size=", "eval.sampler="}),
        ("ebm train met", {"method="}),
        ("ebm train method=n", {"method=nce"}),
        ("ebm train -m method=nce,c", {"method=nce,cd"}),
        ("ebm train sampler=langevin sampler.n", {"sampler.noise_scale="}),
        ("ebm train eval.sampler=h", {"eval.sampler=hmc"}),
        ("ebm train --con", {"--config-dir"}),
        ("ebm sample checkp", {"checkpoint="}),
    ],
)
def test_completion(line: str, some: set[str]) -> None:
    found = candidates(line)
    assert some <= set(found)
    assert all(word.startswith("" if line.endswith(" ") else line.split()[-1]) for word in found)


def test_completion_of_nothing_known() -> None:
    assert candidates("ebm fly ") == []
    assert candidates("ebm train nothing=x") == []


def test_bash_completes(tmp_path: Path) -> None:
    """In a real bash: the function that is installed is called as bash calls it, at `ebm train method=nc`."""
    shim = tmp_path / "ebm"
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ebm_cli "$@"\n')
    shim.chmod(0o755)
    script = (
        'eval "$(ebm -sc install=bash)"; COMP_LINE="ebm train method=nc"; COMP_POINT=${#COMP_LINE}; '
        'compopt() { :; }; _ebm_complete; echo "${COMPREPLY[@]}"; eval "$(ebm -sc uninstall=bash)"; complete -p ebm'
    )
    env = {**os.environ, "PYTHONPATH": str(REPO), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    ran = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=env, check=False)
    assert ran.stdout.split() == ["nce"]
    assert "no completion specification" in ran.stderr


def test_completion_for_another_shell(ebm: Ebm) -> None:
    assert ebm("-sc", "install=fish").code == 2


# --- ebm runs ---------------------------------------------------------------------------------------------------------


def write_run(path: Path, status: Any, results: Any = None, choices: dict[str, str] | None = None) -> None:
    (path / ".hydra").mkdir(parents=True)
    (path / "status.json").write_text(status if isinstance(status, str) else json.dumps(status))
    if results is not None:
        (path / "results.json").write_text(results if isinstance(results, str) else json.dumps(results))
    chosen = {"method": "nce", "dataset": "moons", **(choices or {})}
    (path / ".hydra" / "hydra.yaml").write_text(json.dumps({"hydra": {"runtime": {"choices": chosen}}}))
    (path / "config.yaml").write_text("monitor: eval/kl\n")


def test_runs(ebm: Ebm, tmp_path: Path) -> None:
    import socket

    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    here = socket.gethostname()
    now = time.time()
    running = {"state": "running", "step": 5, "steps": 10, "host": here}
    write_run(
        tmp_path / "o/a", {"state": "finished", "step": 10, "steps": 10, "started": now - 7300}, {"eval/kl": 0.012345}
    )
    write_run(tmp_path / "o/b", running | {"pid": os.getpid(), "started": now - 120}, choices={"method": "cd"})
    write_run(tmp_path / "o/c", running | {"pid": dead.pid, "started": now - 60})
    write_run(tmp_path / "o/d", running | {"pid": dead.pid, "host": "elsewhere", "started": now - 30})
    write_run(tmp_path / "o/e", '{"state": ', {"eval/nll": None})
    write_run(tmp_path / "o/f", {"state": "finished", "step": 1, "steps": 1, "started": now - 10}, "[")
    write_run(tmp_path / "o/g", {"state": "diverged", "step": 3, "steps": 9, "started": now - 5}, {"eval/nll": 1.5})
    ran = ebm("runs", "root=o")
    assert (ran.code, ran.err) == (0, "")
    rows = {line.split("o/")[1].split()[0]: line.split() for line in ran.out.splitlines() if "o/" in line}
    assert rows["a"] == ["finished", "nce", "moons", "10/10", "eval/kl", "0.01235", "2h", "o/a"]
    assert rows["b"] == ["running", "cd", "moons", "5/10", "2m", "o/b"]
    assert [rows[name][0] for name in "cd"] == ["lost", "running"]
    assert [rows[name][0] for name in "ef"] == ["broken", "broken"]
    assert rows["f"][-4:] == ["(results.json", "cannot", "be", "read)"]
    assert rows["g"][:6] == ["diverged", "nce", "moons", "3/9", "eval/nll", "1.5"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o"]


def test_runs_where_there_are_none(ebm: Ebm, tmp_path: Path) -> None:
    assert ebm("runs")[::2] == (1, "ebm: root=outputs: no such directory\n")
    (tmp_path / "outputs").mkdir()
    assert ebm("runs")[:2] == (0, "no runs under outputs\n")


@pytest.mark.parametrize(("seconds", "text"), [(-3, "0s"), (59, "59s"), (60, "1m"), (7199, "1h"), (200_000, "2d")])
def test_age(seconds: float, text: str) -> None:
    assert runs.format_age(seconds) == text


def test_a_process_of_the_command_is_not_searched_for_memory_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """And `main` alone, as a notebook calls it, leaves the collector what it is."""
    registered: list[Any] = []
    monkeypatch.setattr("atexit.register", registered.append)
    monkeypatch.setattr(sys, "argv", ["ebm", "--version"])
    assert main.command() == 0
    assert registered == [gc.freeze]
    assert main.main(["--version"]) == 0
    assert registered == [gc.freeze]

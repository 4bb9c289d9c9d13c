"""Random and malicious command lines: each composes a config or ends in one line."""

import contextlib
import io
import re
import shutil
import signal
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from ebm_cli.cli.main import main
from ebm_cli.commands import check, compare, evaluate, runs, sample, train
from ebm_cli.config.groups import conf_dir, group_options, search_path, verb_groups, verb_keys
from tests.support import FAST, Ebm

WHERE = search_path()
VERBS = {"train": train, "sample": sample, "evaluate": evaluate, "compare": compare, "check": check, "runs": runs}
GROUPS = {
    verb: {group.name: list(group_options(group.folder, WHERE)) for group in verb_groups(verb, WHERE)} for verb in VERBS
}
SECONDS, WAITED = 30, 300
"""Processor time of a command line, and time on the clock, beside others that run: any config is validated in less."""

VALUES = [
    *("nan", "inf", "-inf", "-1", "0", "1", "-0.0", "1e-320", "1e308", "1e400", "0x10", "1_000", "+1", "true", "null"),
    *(str(2**31), str(2**63 - 1), str(2**63), f"-{2**63}", "1" + "0" * 30, "1" + "0" * 400, "abc", "???"),
    *("''", "' '", "é中😀", "\u2028", "\x1b[31m", "a\nb", "'", '"', "\\", "%s", "{0}", "a b", "a:b", "a=b", "a,b", "@"),
    *("[]", "[1]", "[[1]]", "[null]", "[nan]", "[", "]", "{", "}", "{}", "{a:1}", "{a:{b:{c:1}}}", "[{a:1}]", "()"),
    *("{_target_:os.system}", "{_target_:ebm_cli.energies.MLP}", "[{_target_:os.system}]", "{_args_:[1]}"),
    *("${", "$", "${}", "${seed}", "${nothing}", "${a.b.c}", "${${seed}}", "${oc.env:HOME}", "${oc.env:NO_SUCH}"),
    *("${oc.env:NO_SUCH,3}", "${oc.eval:1}", "${now:%Y}", "${hydra:job.num}", "${ebm_unless:1,2}", "${oc.decode:[}"),
    *("choice(1,2)", "range(0,3)", "interval(0,1)", "glob(*)", "int(a)", "float(nan)", "json_str({})", "sort(1)"),
    *("..", "../x", "/", "-", "--", "~", "*", "!!python/object:os.system"),
]
TARGETS = [
    *("os.system", "os", "''", "x", ".a", "a.", "a..b", "1.2", "a.b.c", "logging.os.system", "subprocess.Popen"),
    *("builtins.int", "builtins.type", "builtins.object", "builtins.range", "builtins.SystemExit", "typing.Any"),
    *("functools.partial", "hydra.utils.call", "collections.abc.Mapping", "abc.ABC", "enum.Enum", "torch.nn.Linear"),
    *("ebm_cli.energies.MLP", "ebm_cli.energies.Energy", "ebm_cli.energies.mlp", "ebm_cli.energies.MLP.forward"),
]
PROTECTED = re.compile(r"hydra\.(run|sweep|runtime|mode|output_subdir|sweeper|launcher|help|hydra_help|searchpath)")
"""Keys of the location and number of runs, of which any value may be right."""


@cache
def hydra_keys() -> list[str]:
    """Hydra's own keys, most of them of the logging."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        node = OmegaConf.to_container(compose("train", return_hydra_config=True).hydra, resolve=False)

    def below(node: Any, path: str) -> Iterator[str]:
        for key, value in node.items():
            yield f"{path}.{key}"
            if isinstance(value, dict):
                yield from below(value, f"{path}.{key}")

    return [key for key in below(node, "hydra") if not PROTECTED.match(key)]


@st.composite
def command_lines(draw: st.DrawFn, verb: str = "train") -> list[str]:
    """An override of a real key with a random value, sometimes after an option of a group."""
    words = []
    # For a verb without groups too, so that unknown groups are tried.
    group = draw(st.sampled_from(sorted(set(GROUPS[verb]) - {"experiment"}) or ["method"]))
    if group in GROUPS[verb] and draw(st.booleans()):
        words.append(f"{group}={draw(st.sampled_from(GROUPS[verb][group]))}")
    key = draw(st.sampled_from([key.name for key in verb_keys(verb, words, WHERE)]))
    value = draw(st.one_of(st.sampled_from(VALUES), st.integers().map(str), st.floats().map(str), st.text(max_size=8)))
    deeper = draw(st.sampled_from(["a", "0", "_target_", "_partial_", "b.c.d"]))
    word = draw(
        st.sampled_from(
            [
                *[f"{key}={value}"] * 5,
                f"{key}.{deeper}={value}",
                f"{group}={value}",
                f"{key.rpartition('.')[0] or group}._target_={draw(st.sampled_from(TARGETS))}",
                f"{draw(st.sampled_from(hydra_keys()))}={value}",
                value,
            ]
        )
    )
    word = draw(st.sampled_from(["", "", "", "+", "++", "~"])) + word
    words.append(word.partition("=")[0] if word.startswith("~") and draw(st.booleans()) else word)
    return words


class Hangs(BaseException):
    """A command line that takes longer than SECONDS, or WAITED on the clock."""


class Ended(NamedTuple):
    """The end of a command: its exit code, its errors, and the files that it made."""

    code: int
    err: str
    made: list[str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, for the verbs that need one."""
    with contextlib.chdir(tmp_path_factory.mktemp("trained")):
        assert main(["train", *FAST, "steps=1", "hydra.run.dir=run"]) == 0
        assert Path("run/results.json").is_file()
        return Path("run").absolute()


@pytest.fixture(scope="module")
def folder(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for commands whose verbs do nothing; their configs are validated as usual."""

    def hang(*_: Any) -> None:
        raise Hangs

    with pytest.MonkeyPatch.context() as patched:
        for name, module in VERBS.items():
            patched.setattr(module, name, lambda cfg: None)
        patched.delenv("HYDRA_FULL_ERROR", raising=False)
        before = {number: signal.signal(number, hang) for number in (signal.SIGALRM, signal.SIGPROF)}
        yield tmp_path_factory.mktemp("hostile")
        for number, handler in before.items():
            signal.signal(number, handler)


def run_verb(folder: Path, words: list[str], verb: str = "train") -> Ended:
    """Run `ebm VERB WORDS` in an empty folder inside this one; its end, and the files that it leaves in either."""
    work = folder / "above" / "here"
    work.mkdir(parents=True)
    out, err = io.StringIO(), io.StringIO()
    signal.alarm(WAITED)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        with contextlib.chdir(work), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([verb, *words])
    finally:
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        made = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path not in (work, work.parent))
        shutil.rmtree(folder / "above")
    return Ended(code, err.getvalue(), made)


def assert_sound_end(folder: Path, words: list[str], verb: str = "train") -> Ended:
    """The command succeeds, or ends in one line and leaves no file; its end."""
    ended = run_verb(folder, words, verb)
    if ended.code == 0:
        assert ended.err == ""
        return ended
    assert ended.code in ((1, 2) if any(word.startswith("-") for word in words) else (1,))
    assert ended.err.startswith("ebm: ")
    assert len(ended.err.splitlines()) == 1, ended.err
    assert len(ended.err) < 2100
    # The hint that follows an unforeseen exception.
    assert "HYDRA_FULL_ERROR" not in ended.err
    assert ended.made == []
    return ended


SETTINGS = settings(
    deadline=None, database=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.slow
@settings(SETTINGS, max_examples=8)
@given(words=command_lines())
def test_random_words_compose_or_end_in_one_line(folder: Path, words: list[str]) -> None:
    assert_sound_end(folder, words)


NEEDS = {"sample": "checkpoint", "evaluate": "checkpoint", "compare": "runs"}
"""The required key of a verb."""


def try_another_verb(folder: Path, run: Path, data: st.DataObject) -> None:
    verb = data.draw(st.sampled_from(sorted(set(VERBS) - {"train"})))
    needed = [f"{NEEDS[verb]}={run}"] if verb in NEEDS else []
    assert_sound_end(folder, [*needed, *data.draw(command_lines(verb))], verb)


@settings(SETTINGS, max_examples=4)
@given(data=st.data())
def test_random_words_of_another_verb_end_in_one_line(folder: Path, run: Path, data: st.DataObject) -> None:
    try_another_verb(folder, run, data)


@pytest.mark.slow
@settings(SETTINGS, max_examples=500)
@given(data=st.data())
def test_500_random_words_of_another_verb_end_in_one_line(folder: Path, run: Path, data: st.DataObject) -> None:
    try_another_verb(folder, run, data)


@pytest.mark.slow
@settings(SETTINGS, max_examples=500)
@given(words=command_lines())
def test_500_random_words_compose_or_end_in_one_line(folder: Path, words: list[str]) -> None:
    assert_sound_end(folder, words)


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("~device", "device is required"),
        ("~eval.base", "eval.base is required"),
        ("++steps={_target_:ebm_cli.energies.MLP}", "steps must be a whole number, got {'_target_'"),
        ("eval=3", "eval must be a mapping of its keys, got 3"),
        (f"dataset.noise_std=1{'0' * 400}", "dataset.noise_std must be a number, got 1000"),
        (f"seed={2**63}", "seed must be a whole number, got 9223372036854775808"),
        ("threads=100000", "threads must be <= "),
        ("checkpoint=1", "checkpoint must be text or null, got 1"),
        ("+schedule=2147483648", "+schedule=2147483648: schedule takes the name of an option (constant, "),
        ("~optimizer=[1]", "~optimizer=[1]: optimizer takes the name of an option (adam, "),
        ("+energy=[null]", "+energy=[null]: energy takes the name of an option (conv, "),
        ("seed=\u2028", "seed=\\u2028: cannot be read as key=value"),
        ("seed=\x1b[31m", "seed=\\x1b[31m: cannot be read as key=value"),
        ("seed=a\nb", "seed must be a whole number, got 'a\\nb'"),
        ("optimizer.betas.b=1", "optimizer.betas.b=1: cannot be composed: "),
        ("energy._target_=builtins.type", "energy: type cannot be built from its keys (TypeError: "),
        ("energy.width=1000000000000", "energy: MLP needs "),
        ("hydra.job_logging.root.level=loud", "hydra: the logging cannot be set up: Unknown level: 'loud'"),
        ("hydra.job_logging.handlers.file.filename=[1]", "hydra: the logging cannot be set up: expected str"),
        (
            "hydra.job_logging.handlers.file.filename=a/b",
            "hydra: the logging cannot be set up: no file can be made at a",
        ),
        (
            "hydra.job_logging.handlers.file.filename=..",
            "hydra: the logging cannot be set up: no file can be made at ..",
        ),
        (
            "hydra.job.config.override_dirname.kv_sep=\\",
            "hydra.job.config.override_dirname.kv_sep=\\: cannot be composed: ",
        ),
        ("hydra.launcher=1", "hydra.launcher must be a mapping with _target_"),
        ("trust=1", "trust must be a list of texts, got 1"),
        ("dataset.n_train=2147483647", "dataset.n_train must be <= "),
        ("energy.depth=2147483647", "energy.depth must be <= 10000, got 2147483647"),
        ("hydra.verbose=1", "hydra.verbose=1: cannot be composed: "),
        (
            "hydra.hydra_logging.version=2",
            "hydra.hydra_logging.version=2: cannot be composed: ValueError: Unsupported ",
        ),
        (
            "hydra.callbacks.validate.verb=sample",
            "hydra.callbacks.validate.verb=sample: hydra.callbacks.validate cannot",
        ),
        ("~hydra.callbacks", "~hydra.callbacks: hydra.callbacks.validate cannot be overridden"),
        ("steps=${steps}", "steps=${steps}: "),
        ("steps=${oc.env:NO_SUCH}", "steps=${oc.env:NO_SUCH}: KeyError raised while resolving interpolation: "),
    ],
)
def test_words_found_by_random_search_end_in_one_line(folder: Path, word: str, line: str) -> None:
    assert assert_sound_end(folder, [word]).err.startswith(f"ebm: {line}")


@pytest.mark.slow
def test_network_of_endless_layers_is_refused(folder: Path) -> None:
    """Layers are counted as they are built."""
    words = ["method=fce", "noise=flow", "noise.n_couplings=2147483647"]
    assert_sound_end(folder, words)
    line = "ebm: noise: the network has more than 20,000 weight and bias tensors"
    assert run_verb(folder, words).err.startswith(line)
    wide = run_verb(folder, ["energy.width=100000"])
    assert (wide.code, wide.made) == (1, [])
    starts = ("ebm: energy: MLP needs ", "ebm: energy: the network has more than ")
    assert wide.err.startswith(starts)


def test_resolve_without_cfg_is_a_wrong_flag(folder: Path) -> None:
    assert run_verb(folder, ["--resolve"]) == Ended(
        2, "ebm: --resolve needs --cfg job: it resolves interpolations in the config that is printed\n", []
    )


def test_control_a_valid_config_leaves_its_directory(folder: Path) -> None:
    ended = run_verb(folder, ["seed=3", "hydra.run.dir=run"])
    assert (ended.code, ended.err) == (0, "")
    assert "above/here/run/.hydra/config.yaml" in ended.made


def test_message_about_a_very_long_value_is_cut(ebm: Ebm) -> None:
    ran = ebm("train", f"seed={'x' * 100_000}")
    assert (ran.code, len(ran.err) < 2100) == (1, True)
    assert ran.err.startswith("ebm: seed must be a whole number, got 'xxx")

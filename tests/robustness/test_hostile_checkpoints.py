"""Damaged, foreign and malicious checkpoints: every reader refuses them in one line, and none runs their code."""

import itertools
import os
import pickle
import random
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import ebm_cli
from ebm_cli.cli.main import main
from ebm_cli.config.build import build
from ebm_cli.errors import UserError
from ebm_cli.runs import checkpoint as checkpoints
from ebm_cli.runs.record import read as read_record
from ebm_cli.samplers import Kernel
from ebm_cli.system import memory
from tests.support import TINY, Ebm, differences, last, no_pictures


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        no_pictures(patched)
        words = ["dataset=gaussian", "method=sm", "steps=3", "sampler=langevin", "metrics=[score]"]
        assert main(["train", *TINY, *words, "hydra.run.dir=run"]) == 0
    return folder / "run"


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "run", symlinks=True))


@pytest.fixture
def state(original: Path) -> dict[str, Any]:
    return last(original)


@pytest.fixture
def _canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Untrusted code that would leave a file: a module if it is imported, a command if it is run. Neither happens."""
    (tmp_path / "canary_module.py").write_text("open('canary', 'w').close()\nclass Energy: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    assert "canary_module" not in sys.modules
    assert not (tmp_path / "canary").exists()


def load_error(file: Path) -> str:
    with pytest.raises(UserError) as refused:
        checkpoints.read(file)
    assert len(str(refused.value).splitlines()) == 1
    assert len(str(refused.value)) < 500
    return str(refused.value)


VERBS: dict[str, Callable[[str], list[str]]] = {
    "sample": lambda file: ["sample", f"checkpoint={file}", "n_samples=8", "burn_in=1"],
    "sample two": lambda file: ["sample", f"checkpoint=[run,{file}]", "n_samples=8", "burn_in=1"],
    "sample with its own": lambda file: ["sample", f"checkpoint={file}", "sampler=hmc", "n_samples=8"],
    "evaluate": lambda file: ["evaluate", f"checkpoint={file}", "metrics=[score]"],
    "train on a sum": lambda file: ["train", "energy=sum", f"energy.checkpoints=[run,{file}]", "dataset=gaussian"],
}
"""Commands that read a checkpoint file; `ebm train checkpoint=RUN` reads a run directory."""


def refused(ebm: Ebm, folder: Path, words: list[str]) -> str:
    """The one line with which a command refuses; no file changes."""
    before = {path: path.lstat().st_mtime_ns for path in folder.rglob("*") if "__pycache__" not in path.parts}
    ran = ebm(*words)
    assert (ran.code, ran.out) == (1, ""), ran.err
    assert len(ran.err.splitlines()) == 1, ran.err
    assert "HYDRA_FULL_ERROR" not in ran.err
    assert {path: path.lstat().st_mtime_ns for path in folder.rglob("*") if "__pycache__" not in path.parts} == before
    return ran.err


# --- damaged ----------------------------------------------------------------------------------------------------------


def test_truncated_checkpoint_is_refused_at_any_length(run: Path, tmp_path: Path) -> None:
    """At each hundredth of its length, and at each of its last bytes."""
    whole, file = (run / "checkpoints" / "last.pt").read_bytes(), tmp_path / "x.pt"
    for length in [len(whole) * i // 100 for i in range(100)] + [len(whole) - i for i in range(1, 30)]:
        file.write_bytes(whole[:length])
        assert "x.pt: not a checkpoint, or a truncated one" in load_error(file)
    file.write_bytes(whole)
    assert differences(checkpoints.read(file), last(run)) == []


def count_refused_flips(run: Path, file: Path, places: list[int]) -> int:
    """The number of single-bit flips that are refused; the others leave the state unchanged."""
    whole, state = (run / "checkpoints" / "last.pt").read_bytes(), last(run)
    n_refused = 0
    for place in places:
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        file.write_bytes(damaged)
        try:
            found = checkpoints.read(file)
        except UserError as error:
            n_refused += 1
            message = str(error)
            assert len(message.splitlines()) == 1, message
        else:
            assert differences(found, state) == [], place
    return n_refused


def test_flipped_bit_is_refused_or_has_no_effect(run: Path, tmp_path: Path) -> None:
    """A sample of all bits, and one of the archive's directory, which has no checksum of its own."""
    size = 8 * (run / "checkpoints" / "last.pt").stat().st_size
    directory = 8 * (run / "checkpoints" / "last.pt").read_bytes().index(b"PK\x01\x02")
    rng = random.Random(0)
    places = [rng.randrange(size) for _ in range(60)] + [rng.randrange(directory, size) for _ in range(60)]
    assert 40 < count_refused_flips(run, tmp_path / "x.pt", places) < 120


def test_tensor_marked_as_a_folder_is_refused(run: Path, tmp_path: Path) -> None:
    """torch.load accepts it, and returns a tensor of uninitialised memory."""
    with zipfile.ZipFile(run / "checkpoints" / "last.pt") as archive:
        names = archive.namelist()
    whole, place = (run / "checkpoints" / "last.pt").read_bytes(), 0
    for name in names:
        place = whole.index(b"PK\x01\x02", place + 1)
        damaged = bytearray(whole)
        damaged[place + 38] ^= 0x10
        (tmp_path / "x.pt").write_bytes(damaged)
        assert load_error(tmp_path / "x.pt").endswith(f"damaged, the checksum of {name} does not match")
        if name.endswith("data/0"):
            torch.load(tmp_path / "x.pt", weights_only=True)


@pytest.mark.slow
def test_thousand_flipped_bits_are_refused_or_have_no_effect(run: Path, tmp_path: Path) -> None:
    size = 8 * (run / "checkpoints" / "last.pt").stat().st_size
    directory = 8 * (run / "checkpoints" / "last.pt").read_bytes().index(b"PK\x01\x02")
    rng = random.Random(1)
    assert count_refused_flips(run, tmp_path / "x.pt", [rng.randrange(size) for _ in range(1000)]) > 400
    assert count_refused_flips(run, tmp_path / "x.pt", [rng.randrange(directory, size) for _ in range(1000)]) > 200


def test_compressed_checkpoint_is_refused(run: Path, tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(run / "checkpoints" / "last.pt") as plain,
        zipfile.ZipFile(tmp_path / "x.pt", "w", 8) as packed,
    ):
        for member in plain.namelist():
            packed.writestr(member, plain.read(member))
        packed.writestr("archive/zeros", bytes(2**24))
    assert load_error(tmp_path / "x.pt").endswith("not a checkpoint of ebm (it unpacks to more than its file holds)")


# --- foreign ----------------------------------------------------------------------------------------------------------


class Canary:
    """A pickle that leaves a file if it is executed."""

    def __reduce__(self) -> Any:
        return os.system, ("touch canary",)


def endless(state: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = dict(state["config"])
    config["energy"] = {**config["energy"], "hidden": config}
    return config


OTHERS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "future format": (lambda s: s | {"format": 2}, "written by a later version (format 2)"),
    "boolean format": (lambda s: s | {"format": True}, "written by a later version (format True)"),
    "another program": (lambda s: {"state_dict": s["energy"], "epoch": 3}, "not a checkpoint of ebm"),
    "weights of a network": (lambda s: s["energy"], "not a checkpoint of ebm"),
    "a tensor": (lambda s: torch.ones(3), "not a checkpoint of ebm"),
    "incomplete": (lambda s: {"format": 1, "config": s["config"]}, "incomplete, it has no step, energy"),
    "list as config": (lambda s: s | {"config": [1]}, "wrong type: config"),
    "tensor in the config": (lambda s: s | {"config": s["config"] | {"seed": torch.ones(1)}}, "type: config"),
    "endless config": (lambda s: s | {"config": endless(s)}, "wrong type: config"),
    "text as step": (lambda s: s | {"step": "3"}, "wrong type: step"),
    "no shape": (lambda s: s | {"dataset": {}}, "its tensors do not fit its config"),
    "tensors of another energy": (lambda s: s | {"energy": {"w": torch.ones(2)}}, "its tensors do not fit its config"),
    "pickle inside": (lambda s: s | {"rng": Canary()}, "not a checkpoint of ebm (Weights only load failed"),
}


@pytest.mark.usefixtures("_canary")
@pytest.mark.parametrize("kind", OTHERS)
def test_foreign_file_is_refused(ebm: Ebm, run: Path, tmp_path: Path, state: dict[str, Any], kind: str) -> None:
    make, line = OTHERS[kind]
    torch.save(make(state), tmp_path / "x.pt")
    if kind == "endless config":
        # The saved config must contain itself, not a copy.
        config = endless(state)
        config["energy"]["hidden"] = config
        torch.save(state | {"config": config}, tmp_path / "x.pt")
    assert line in refused(ebm, tmp_path, VERBS["evaluate"]("x.pt"))
    with pytest.raises(UserError):
        ebm_cli.load(tmp_path / "x.pt")


@pytest.mark.usefixtures("_canary")
@pytest.mark.parametrize("verb", VERBS)
def test_pickle_is_executed_by_no_verb(ebm: Ebm, run: Path, tmp_path: Path, state: dict[str, Any], verb: str) -> None:
    torch.save(state | {"rng": Canary()}, tmp_path / "x.pt")
    assert "x.pt: not a checkpoint of ebm" in refused(ebm, tmp_path, VERBS[verb]("x.pt"))
    (tmp_path / "x.pt").write_bytes(pickle.dumps(Canary()))
    assert "x.pt: not a checkpoint, or a truncated one" in refused(ebm, tmp_path, VERBS[verb]("x.pt"))
    torch.save(Canary(), tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    assert "x.pt: not a checkpoint, or a truncated one" in refused(ebm, tmp_path, VERBS[verb]("x.pt"))


@pytest.mark.usefixtures("_canary")
def test_run_with_a_pickle_is_not_resumed(ebm: Ebm, run: Path, tmp_path: Path, state: dict[str, Any]) -> None:
    torch.save(state | {"rng": Canary()}, run / "checkpoints" / "last.pt")
    ran = ebm("train", "checkpoint=run", "steps=4")
    assert (ran.code, len(ran.err.splitlines())) == (1, 1)
    assert "not a checkpoint of ebm" in ran.err


def test_control_an_ordinary_unpickler_executes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Canary()))
    assert (tmp_path / "canary").exists()


# --- untrusted configs ------------------------------------------------------------------------------------------------

CALL = {"_target_": "os.system", "command": "touch canary"}
NODES: dict[str, Any] = {
    "a function": CALL,
    "through a re-export": {"_target_": "logging.os.system", "command": "touch canary"},
    "through our own": {"_target_": "ebm_cli.cli.hydra_app.os.system", "command": "touch canary"},
    "through torch": {"_target_": "torch.serialization.os.system", "command": "touch canary"},
    "a class": {"_target_": "subprocess.Popen", "args": ["touch", "canary"]},
    "Hydra's call": {"_target_": "hydra.utils.call", "config": CALL},
    "Hydra's instantiate": {"_target_": "hydra.utils.instantiate", "config": CALL},
    "Hydra's get_method": {"_target_": "hydra.utils.get_method", "path": "os.system"},
    "a partial": {"_target_": "functools.partial", "func": "os.system", "_args_": ["touch canary"]},
    "eval": {"_target_": "builtins.eval", "_args_": ["__import__('os').system('touch canary')"]},
    "another's class": {"_target_": "canary_module.Energy"},
    "a name that begins like ours": {"_target_": "ebm_cli_evil.Energy"},
    "an attribute of ours": {"_target_": "ebm_cli.energies.MLP.forward.__globals__"},
    "a module of ours": {"_target_": "ebm_cli.config.trust.importlib.import_module", "name": "canary_module"},
    "interpolated target": {"_target_": "${oc.env:HOME}.x"},
    "list as target": {"_target_": ["os.system"]},
    "node as target": {"_target_": CALL},
    "null target": {"_target_": None},
}
"""Nodes that would run code if a verb built them."""
HIDDEN: dict[str, Callable[[dict[str, Any], Any], Any]] = {
    "in place": lambda node, evil: evil,
    "in a key": lambda node, evil: node | {"inner": evil},
    "in a list": lambda node, evil: node | {"inner": [1, [evil]]},
    "in a mapping": lambda node, evil: node | {"inner": {"a": {"b": [{"c": evil}]}}},
    "as arguments": lambda node, evil: node | {"_args_": [evil]},
}
SWITCHES = [{"_partial_": True}, {"_args_": []}, {"_recursive_": True}, {"_convert_": "all"}, {"_mode_": 1}]


def rebuild(file: Path) -> None:
    """Build everything that a verb builds of a stored config."""
    model = ebm_cli.load(file)
    build(model.config.sampler, "sampler", Kernel)
    model.loaded.parts()


@pytest.mark.usefixtures("_canary")
@pytest.mark.parametrize(
    "where", ["energy", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sampler", "dataset", "method"))]
)
def test_untrusted_node_is_refused_anywhere(tmp_path: Path, state: dict[str, Any], where: str) -> None:
    """Also in a part that is not built: the whole config is checked before any part is built."""
    own = state["config"][where]
    for name, evil in NODES.items():
        for how, hide in HIDDEN.items():
            torch.save(state | {"config": state["config"] | {where: hide(own, evil)}}, tmp_path / "x.pt")
            with pytest.raises(UserError) as error:
                rebuild(tmp_path / "x.pt")
            assert str(error.value).startswith(where), (name, how)
            assert len(str(error.value).splitlines()) == 1


@pytest.mark.usefixtures("_canary")
@pytest.mark.parametrize("switch", SWITCHES, ids=lambda switch: next(iter(switch)))
def test_switches_of_hydra_are_not_keys(tmp_path: Path, state: dict[str, Any], switch: dict[str, Any]) -> None:
    for where in ("energy", "sampler", "dataset", "method"):
        torch.save(state | {"config": state["config"] | {where: state["config"][where] | switch}}, tmp_path / "x.pt")
        with pytest.raises(UserError, match=f"^{where}.{next(iter(switch))}: not a key"):
            rebuild(tmp_path / "x.pt")


@pytest.mark.usefixtures("_canary")
@pytest.mark.parametrize("where", ["energy", "sampler", "method"])
def test_class_of_another_kind_is_not_built(tmp_path: Path, state: dict[str, Any], where: str) -> None:
    """A data set may download and open files; in place of an energy it is not built, so that neither happens."""
    evil = {"_target_": "ebm_cli.datasets.MNIST", "root": str(tmp_path / "fetched"), "download": True}
    torch.save(state | {"config": state["config"] | {where: evil}}, tmp_path / "x.pt")
    with pytest.raises(UserError, match=rf"^{where}\._target_=ebm_cli\.datasets\.MNIST: must name a class of "):
        rebuild(tmp_path / "x.pt")


def test_network_larger_than_its_file_is_refused(tmp_path: Path, state: dict[str, Any]) -> None:
    torch.save(
        state | {"config": state["config"] | {"energy": state["config"]["energy"] | {"width": 20_000}}},
        tmp_path / "x.pt",
    )
    memory.reset_peak_memory(torch.device("cpu"))
    before = memory.peak_memory_mb(torch.device("cpu"))
    with pytest.raises(
        UserError, match=r"^energy: the network has more than \d+\.\d kB of parameters, which is the limit$"
    ):
        ebm_cli.load(tmp_path / "x.pt")
    assert memory.peak_memory_mb(torch.device("cpu")) - before < 100


@pytest.mark.usefixtures("_canary")
@pytest.mark.parametrize("verb", VERBS)
def test_verb_refuses_an_untrusted_config(
    ebm: Ebm, run: Path, tmp_path: Path, state: dict[str, Any], verb: str
) -> None:
    for name in ("a function", "through our own", "another's class"):
        torch.save(state | {"config": state["config"] | {"energy": NODES[name]}}, tmp_path / "x.pt")
        line = refused(ebm, tmp_path, VERBS[verb]("x.pt"))
        assert f"energy._target_={NODES[name]['_target_']}: " in line
    for text in ("${oc.env:HOME}", "${seed}", "a${now:%Y}"):
        torch.save(state | {"config": state["config"] | {"monitor": text}}, tmp_path / "x.pt")
        assert f"monitor={text}: a stored config holds no interpolations" in refused(ebm, tmp_path, VERBS[verb]("x.pt"))


@pytest.mark.slow
@pytest.mark.usefixtures("_canary")
def test_run_with_an_altered_config_is_not_resumed(ebm: Ebm, run: Path, tmp_path: Path) -> None:
    stored = yaml.safe_load((run / "config.yaml").read_text())
    names = ("a function", "through our own", "a partial", "another's class", "interpolated target")
    for where, tried in (("energy", names), ("optimizer", names[:1]), ("schedule", names[1:2]), ("claims", names[3:4])):
        for name in tried:
            (run / "config.yaml").write_text(yaml.safe_dump(stored | {where: NODES[name]}))
            line = refused(ebm, tmp_path, ["train", "checkpoint=run", "steps=4"])
            assert line.startswith(f"ebm: {where}")


@pytest.mark.usefixtures("_canary")
def test_config_with_python_objects_or_aliases_is_refused(ebm: Ebm, run: Path, tmp_path: Path) -> None:
    """YAML can construct Python objects, and repeat a part exponentially often."""
    plain = (run / "config.yaml").read_text()
    names = "abcdefghijklmnopqrstuvw"
    repeats = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in itertools.pairwise(names))
    for text in (
        f"{plain}evil: !!python/object/apply:os.system ['touch canary']\n",
        plain + repeats,
        "- 1\n",
        "{",
        "\x00",
    ):
        (run / "config.yaml").write_text(text)
        assert refused(ebm, tmp_path, ["train", "checkpoint=run", "steps=4"]).startswith("ebm: run/config.yaml: not a ")
        assert read_record(run).config == {}


def test_runs_and_compare_execute_no_pickle(ebm: Ebm, run: Path, tmp_path: Path) -> None:
    """Tables are read from text files; a picture that cannot be drawn is replaced by the reason."""
    shutil.copytree(run, tmp_path / "other")
    (run / "checkpoints" / "last.pt").write_bytes(pickle.dumps(Canary()))
    assert ebm("runs", "root=.").code == 0
    ran = ebm("compare", "runs=[run,other]", "hydra.run.dir=out")
    assert ran.code == 0, ran.err
    assert not (tmp_path / "canary").exists()


def test_pipe_in_place_of_a_file_is_refused_at_once(ebm: Ebm, run: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for verb in VERBS.values():
        assert "pipe: " in refused(ebm, tmp_path, verb("pipe"))
    for name in ("status.json", "results.json", "config.yaml"):
        (run / name).unlink()
        os.mkfifo(run / name)
    assert read_record(run).state == "broken"
    assert ebm("runs", "root=.").code == 0


# --- links ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["checkpoints", "metrics.jsonl", "results.json", "status.json", "train.log"])
def test_link_out_of_a_run_is_not_written_through(ebm: Ebm, run: Path, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    shutil.move(run / name, outside)
    (run / name).symlink_to(outside)
    line = refused(ebm, tmp_path, ["train", "checkpoint=run", "steps=4"])
    assert line == f"ebm: run/{name}: a link out of the run's directory; remove it to write there\n"


def test_link_inside_a_run_is_accepted(ebm: Ebm, run: Path) -> None:
    (run / "notes").symlink_to(run / "checkpoints")
    ran = ebm("train", "checkpoint=run", "steps=4")
    assert (ran.code, ran.err) == (0, "")
    np.testing.assert_equal(last(run)["step"], 4)

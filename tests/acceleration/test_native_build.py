"""The library of native chains: built once, cached by what it was made from, and a reason where it is not available."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ebm_cli.acceleration import NativeChains, attach_native_code, native_build
from ebm_cli.energies import MLP
from ebm_cli.energies.values import values
from ebm_cli.samplers import run
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.samplers.mala import MALA
from tests.acceleration.networks import mlp
from tests.support import seeded

pytestmark = pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache of extensions."""
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    native_build._library_or_reason.cache_clear()
    yield tmp_path
    native_build._library_or_reason.cache_clear()


def ends(energy: MLP) -> Tensor:
    return run(Langevin(0.01), energy, torch.randn(75, 3, generator=seeded(1)), 10, seeded())[0].x


def gradient(energy: MLP) -> Tensor:
    total = values(energy, torch.randn(75, 3, generator=seeded(1))).sum()
    return torch.autograd.grad(total, energy.network[0].weight)[0]


@pytest.mark.parametrize(
    ("compiler", "reason"),
    [
        ("no-such-compiler", "native code is not available: no C++ compiler (no-such-compiler) is installed"),
        ("false", "native code is not available: the build failed (the compiler ended with exit code 1)"),
    ],
)
def test_without_a_compiler_chains_stay_in_torch(
    compiler: str, reason: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", compiler)
    energy, x = mlp(), torch.randn(75, 3, generator=seeded(1))
    expected = run(MALA(0.3), energy, x, 5, seeded())[0].x
    why = attach_native_code(energy, 1)
    assert why is not None
    assert why.startswith(reason)
    assert "\n" not in why
    assert energy.native is None
    assert torch.equal(run(MALA(0.3), energy, x, 5, seeded())[0].x, expected)
    # A failed build leaves nothing that the next one would take for a library.
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_compiler_may_have_words(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-cache c++")
    assert native_build.missing_compiler() == "no C++ compiler (no-such-cache) is installed"
    monkeypatch.setenv("CXX", "env c++")
    assert native_build.missing_compiler() is None
    assert native_build._compiler() == ["env", "c++"]


def test_folder_that_cannot_be_written_keeps_chains_in_torch(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = cache / "file"
    file.touch()
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(file))
    why = attach_native_code(mlp(), 1)
    assert why is not None
    assert "the build failed (" in why
    assert "\n" not in why


def test_failed_build_is_not_tried_twice(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = cache / "tried"
    compiler = cache / "broken-c++"
    compiler.write_text(f'#!/bin/sh\necho again >> {tried}\necho "a.cpp:1: error: no header" >&2\nexit 1\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    whys = [attach_native_code(mlp(), 1) for _ in range(3)]
    assert set(whys) == {"native code is not available: the build failed (a.cpp:1: error: no header)"}
    assert tried.read_text().split() == ["again"] * 4, "both sources with OpenMP, and without"


@pytest.mark.slow
def test_compiler_without_openmp_gives_the_same_bits(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library then has threads of its own."""
    energy = mlp()
    assert attach_native_code(energy, 2, has_values=True) is None
    expected, of_step = ends(energy), gradient(energy)
    native_build._library_or_reason.cache_clear()
    compiler = cache / "plain-c++"
    compiler.write_text('#!/bin/sh\ncase "$*" in *-fopenmp*) echo "no OpenMP" >&2; exit 1;; esac\nexec c++ "$@"\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(cache / "another"))
    assert attach_native_code(energy, 2, has_values=True) is None
    assert native_build.load_library().ebm_has_pool() == 0
    assert torch.equal(ends(energy), expected)
    assert torch.equal(gradient(energy), of_step)


def test_cached_library_needs_no_compiler(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCH_EXTENSIONS_DIR")
    path = Path(native_build.load_library()._name)
    native_build._library_or_reason.cache_clear()
    shutil.copytree(path.parent, cache / path.parent.name)
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(cache))
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert attach_native_code(mlp(), 1) is None
    assert Path(native_build.load_library()._name).is_relative_to(cache)


def test_key_depends_on_source_flags_and_processor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = tmp_path / "chains.cpp"
    source.write_text("other")
    keys = {native_build._key()}
    for name, value in {
        "SOURCES": (source,),
        "HEADERS": (source,),
        "FLAGS": ("-O2",),
        "_processor": lambda: "another",
    }.items():
        with monkeypatch.context() as patch:
            patch.setattr(native_build, name, value)
            keys.add(native_build._key())
    assert len(keys) == 5


def test_native_chains_need_a_thread() -> None:
    with pytest.raises(ValueError, match="threads must be >= 1, got 0"):
        NativeChains(0)

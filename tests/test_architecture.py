"""The house rules of the imports, read from the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import REPO

PACKAGE = REPO / "ebm_cli"
FILES = sorted(PACKAGE.rglob("*.py"))

LEVELS = [
    {"errors", "catalogue", "records", "memory", "processor", "optimizers"},
    {"derivatives", "energies", "densities"},
    {"samplers", "datasets"},
    {"methods", "evaluation", "claims", "native"},
    {"training", "reporting", "compiling"},
    {"schema", "trust", "annotations"},
    {"config"},
    {"experiment"},
    {"stored", "conditioning", "measuring", "watching", "viewing", "judging", "selftest", "picturing"},
    {"closing"},
    {"explain", "session", "help", "sweeping", "typed", "launching"},
    {"app"},
    {"commands", "completion"},
    {"cli", "__main__"},
]
"""Imports go up this list, never down it; __init__ only names what it loads when asked."""

HYDRA = {
    *("app", "config", "commands", "experiment", "explain", "measuring", "selftest", "session", "stored"),
    *("annotations", "launching", "sweeping", "typed"),
}
"""Where a composed config is read; everything below is given plain values."""
AT_ONCE = {
    *("__init__", "__main__", "cli", "help", "completion", "catalogue"),
    *("errors", "schema", "trust", "annotations", "app", "config", "explain", "stored", "records"),
    *("launching", "sweeping", "typed"),
}
"""What `ebm --help`, `--cfg job` and `ebm runs` import: never torch, at least not on import."""


def part(path: Path) -> str:
    """The folder of the package that a file is in, or the file itself where it lies at the top."""
    inside = path.relative_to(PACKAGE)
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem


def level(name: str) -> int:
    return next(i for i, names in enumerate(LEVELS) if name in names)


def imports(path: Path, *, top_only: bool = False) -> Iterator[str]:
    """The dotted names that a file imports, in functions too unless `top_only`; not those for type checkers alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = [
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    ]
    for node in tree.body if top_only else ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(path: Path) -> set[str]:
    """The parts of the package that a file imports."""
    found = {name.split(".")[1] for name in imports(path) if name.startswith("ebm_cli.")}
    return found - {"__version__"}


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", [path for path in FILES if part(path) != "__init__"], ids=name_of)
def test_imports_go_one_way(path: Path) -> None:
    here = part(path)
    above = {name for name in ours(path) if level(name) > level(here)}
    assert above == set()


def test_no_two_parts_import_each_other() -> None:
    edges = {(part(path), name) for path in FILES for name in ours(path) if name != part(path)}
    assert {edge for edge in edges if edge[::-1] in edges} == set()


@pytest.mark.parametrize("path", [path for path in FILES if part(path) == "methods"], ids=name_of)
def test_methods_do_not_see_each_other(path: Path) -> None:
    if path.stem == "__init__":
        return
    siblings = {name.split(".")[2] for name in imports(path) if name.startswith("ebm_cli.methods.")}
    concrete = {p.stem for p in (REPO / "conf" / "method").glob("*.yaml")} - {path.stem}
    assert siblings & concrete == set()


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_libraries_stay_in_their_place(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports(path)}
    if part(path) not in HYDRA:
        assert not roots & {"hydra", "omegaconf"}
    if name_of(path) != "reporting/tensorboard.py":
        assert "tensorboard" not in roots
        assert not any(name.startswith("torch.utils.tensorboard") for name in imports(path))
    if name_of(path) not in {f"reporting/{name}.py" for name in ("canvas", "grids", "plots", "charts")}:
        assert "matplotlib" not in roots
    at_top = {name.split(".")[0] for name in imports(path, top_only=True)}
    assert not at_top & {"matplotlib", "sklearn"}
    assert not any("pyplot" in name for name in imports(path))
    if part(path) in AT_ONCE or name_of(path) in ("commands/runs.py", "commands/compare.py"):
        assert "torch" not in at_top


def test_what_a_config_names_is_final() -> None:
    """No class derives from one that a config can name: what is shared stands in an abstract base or a function."""
    import importlib
    import inspect
    import re

    from ebm_cli.trust import locate

    texts = [path.read_text() for path in (REPO / "conf").rglob("*.yaml")]
    named = {locate(name, "conf", None) for text in texts for name in re.findall(r"_target_: (ebm_cli[\w.]+)", text)}
    # Importing __main__ is running the command.
    modules = [".".join(path.relative_to(REPO).with_suffix("").parts) for path in FILES if path.stem != "__main__"]
    classes = {c for m in modules for _, c in inspect.getmembers(importlib.import_module(m), inspect.isclass)}
    assert len(named) > 20
    assert named <= classes
    assert {(c.__name__, base.__name__) for c in classes for base in c.__bases__ if base in named} == set()

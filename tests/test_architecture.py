"""The house rules of the imports, read from the source."""

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import ConstantLR

from tests.support import REPO

PACKAGE = REPO / "ebm_cli"
FILES = sorted(PACKAGE.rglob("*.py"))

LAYERS = [
    {"errors", "quoting", "rng", "densities"},
    {"config", "system"},
    {"derivatives", "datasets", "optim"},
    {"energies", "samplers"},
    {"methods", "acceleration"},
    {"evaluation"},
    {"reporting", "runs"},
    {"training", "claims", "comparison", "cli"},
    {"selftest", "lecture", "replicas"},
    {"commands"},
    {"api"},
]
"""A package imports packages of lower layers only."""

PLOTTING = (*(f"reporting/figures/{name}" for name in ("canvas", "chart", "completions", "style")), "comparison/charts")
"""Modules that import matplotlib."""

WITH_OPTUNA = ("ebm_cli.cli.search", "ebm_cli.cli.search_study")
"""Modules that import Optuna, which is imported nowhere else, and which only a search imports."""

LONGEST_FUNCTION, LONGEST_FILE, LONGEST_NAME = 60, 300, 60
"""Lines of a function, lines of a file without a reason in its docstring, characters of a test's name."""

NAMES_ONLY = {"__init__", "__main__"}
"""The two modules at the top that import what they are asked for: the public Python API, and the command."""

HYDRA = {
    "api",
    "replicas",
    "cli",
    "config",
    "commands",
    "runs",
    "training",
    "selftest",
    "claims",
    "comparison",
    "lecture",
}
"""Packages that read a composed config; the mathematics, the machine and the reports are given plain values."""

WITHOUT_TORCH = (
    *(
        "__init__",
        "__main__",
        "errors",
        "quoting",
        "config/",
        "cli/",
        "commands/__init__",
        "commands/runs",
        "commands/compare",
    ),
    *(
        "runs/__init__",
        "runs/record",
        "runs/labels",
        "runs/directory",
        "runs/lock",
        "runs/status",
        "runs/signals",
        "runs/stored_config",
        "runs/added_keys",
    ),
    *("runs/reserve", "system/__init__", "system/files", "system/versions"),
    *("evaluation/__init__", "evaluation/values", "evaluation/verdicts"),
    *("evaluation/monitored", "evaluation/result_description", "evaluation/result_registry"),
    *(
        "reporting/__init__",
        "reporting/commands",
        "reporting/console",
        "reporting/narrow",
        "reporting/results_table",
        "reporting/sweep_table",
        "reporting/explanations",
    ),
    *(
        f"comparison/{name}"
        for name in ("__init__", "charts", "columns", "conclusions", "groups", "page", "ranking", "settings")
    ),
    *("comparison/cost_charts", "comparison/spread", "comparison/tables"),
)
"""Modules behind `ebm --help`, completion, `--cfg` and `ebm runs`, which must answer at once."""


def part(path: Path) -> str:
    """The folder of the package that a file is in, or the file itself where it lies at the top."""
    inside = path.relative_to(PACKAGE)
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem


def layer(name: str) -> int:
    return next(i for i, names in enumerate(LAYERS) if name in names)


@cache
def tree_of(path: Path) -> ast.Module:
    """The parsed source of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    """All nodes of the parsed source of a file."""
    return tuple(ast.walk(tree_of(path)))


@cache
def imports(path: Path, *, top_only: bool = False) -> tuple[str, ...]:
    """The dotted names that a file imports, in functions too unless `top_only`; not those for type checkers alone."""
    typing_only = {
        inner
        for node in nodes_of(path)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    found: list[str] = []
    for node in tree_of(path).body if top_only else nodes_of(path):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(found)


def ours(path: Path) -> set[str]:
    """The parts of the package that a file imports."""
    found = {name.split(".")[1] for name in imports(path) if name.startswith("ebm_cli.")}
    return found - {"__version__"}


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", [path for path in FILES if part(path) not in NAMES_ONLY], ids=name_of)
def test_imports_go_one_way(path: Path) -> None:
    here = part(path)
    above = {name for name in ours(path) if layer(name) >= layer(here) and name != here}
    assert above == set()


def test_the_top_of_the_package_has_no_other_module() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} == NAMES_ONLY | {"errors", "quoting", "rng"}


def test_every_package_is_in_one_layer() -> None:
    packages = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert sorted(name for names in LAYERS for name in names) == sorted(packages | {"errors", "quoting", "rng"})


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*/__init__.py")), ids=name_of)
def test_package_docstring_names_contents_and_importers(path: Path) -> None:
    text = ast.get_docstring(tree_of(path)) or ""
    first = " ".join(text.split("\n\n")[0].split())
    assert re.fullmatch(r"[A-Z][^.]+(\.\w[^.]+)*\.", first), "one sentence"
    number = layer(path.relative_to(PACKAGE).parts[0])
    assert f"; layer {number}, imported by " in first


def test_no_two_packages_import_each_other() -> None:
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
    if name_of(path) not in {f"{name}.py" for name in PLOTTING}:
        assert "matplotlib" not in roots
    at_top = {name.split(".")[0] for name in imports(path, top_only=True)}
    assert not at_top & {"matplotlib", "sklearn"}
    assert not any("pyplot" in name for name in imports(path))
    if any(
        name_of(path) == f"{name}.py" or (name[-1] == "/" and name_of(path).startswith(name)) for name in WITHOUT_TORCH
    ):
        assert "torch" not in at_top


def test_private_names_of_hydra_stay_in_one_module() -> None:
    found = {
        name_of(path)
        for path in FILES
        if any(name.startswith("hydra._internal") for name in imports(path))
        or "hydra._internal" in path.read_text(encoding="utf-8")
    }
    assert found == {"cli/hydra_internals.py"}


@cache
def private_names_of_torch() -> set[str]:
    """Private attributes of a module, an optimizer, a schedule and a tensor."""
    module = nn.Linear(1, 1)
    optimizer = SGD(module.parameters(), 0.1)
    things = (module, optimizer, ConstantLR(optimizer), module.weight, torch.Generator())
    names = {name for thing in things for name in (*dir(thing), *getattr(thing, "__dict__", ()))}
    # A step of the optimizer sets the last one.
    return {name for name in names if name.startswith("_") and not name.startswith("__")} | {"_opt_called"}


def uses_of_private_torch(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Expressions with a private name of torch: in a chain from `torch`, of an object of torch, or as a string."""
    names = private_names_of_torch()
    for node in nodes:
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            chain = ast.unparse(node)
            of_torch = re.fullmatch(r"torch(\.\w+)*\._\w+", chain)
            if of_torch or (node.attr in names and ast.unparse(node.value) not in ("self", "cls")):
                yield chain
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found = ast.unparse(node)
            if re.search(r"\btorch(\.\w+)*\._|from torch.* import _", found):
                yield found
        elif isinstance(node, ast.Call) and re.match(r"(get|has|set)attr\((?!self,)[^,]+, '_[a-z]", ast.unparse(node)):
            yield ast.unparse(node)


def test_private_names_of_torch_are_in_one_file() -> None:
    uses = {name_of(path): sorted(uses_of_private_torch(nodes_of(path))) for path in FILES}
    assert {name for name, found in uses.items() if found} == {"system/torch_internals.py"}, uses


def test_uses_of_private_torch_are_seen() -> None:
    """Negative control of the test above."""
    for line in (
        "torch._fused_adam_(x)",
        "torch.ops.mkldnn._linear_pointwise",
        "module._forward_hooks",
        "optimizer._opt_called = True",
        "hasattr(torch, '_foreach_copy_')",
        "from torch._dynamo.exc import Unsupported",
        "import torch._dynamo",
        "from torch import _C",
    ):
        assert any(uses_of_private_torch(ast.walk(ast.parse(line)))), line
    line = "self._step = torch.ops.aten.gelu_backward; getattr(x, 'native')"
    assert not [*uses_of_private_torch(ast.walk(ast.parse(line)))]


def test_what_a_config_names_is_final() -> None:
    """No class derives from one that a config can name: what is shared stands in an abstract base or a function."""
    import importlib.util
    import inspect

    from ebm_cli.config.trust import import_class

    texts = [path.read_text() for path in (REPO / "conf").rglob("*.yaml")]
    named = {
        import_class(name, "conf", None) for text in texts for name in re.findall(r"_target_: (ebm_cli[\w.]+)", text)
    }
    # Importing __main__ is running the command.
    modules = [".".join(path.relative_to(REPO).with_suffix("").parts) for path in FILES if path.stem != "__main__"]
    if importlib.util.find_spec("optuna") is None:  # an extra
        modules = [name for name in modules if name not in WITH_OPTUNA]
    classes = {c for m in modules for _, c in inspect.getmembers(importlib.import_module(m), inspect.isclass)}
    assert len(named) > 20
    assert named <= classes
    assert {(c.__name__, base.__name__) for c in classes for base in c.__bases__ if base in named} == set()


def test_only_a_search_imports_optuna() -> None:
    names = {".".join(path.relative_to(REPO).with_suffix("").parts): path for path in FILES}
    assert {name for name, path in names.items() if any(found.startswith("optuna") for found in imports(path))} == set(
        WITH_OPTUNA
    )


def test_functions_have_at_most_60_lines() -> None:
    functions = [(path, node) for path in FILES for node in nodes_of(path) if isinstance(node, ast.FunctionDef)]
    lengths = {f"{name_of(path)}: {f.name}": (f.end_lineno or 0) - f.lineno + 1 for path, f in functions}
    assert {name: n for name, n in lengths.items() if n > LONGEST_FUNCTION} == {}


def test_long_files_give_a_reason() -> None:
    long = [path for path in FILES if path.read_text(encoding="utf-8").count("\n") > LONGEST_FILE]
    assert [name_of(path) for path in long if "Long because " not in (ast.get_docstring(tree_of(path)) or "")] == []


def test_names_of_tests_fit_into_60_characters() -> None:
    files = sorted((REPO / "tests").rglob("test_*.py"))
    nodes = (node for path in files for node in nodes_of(path))
    names = [node.name for node in nodes if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    assert [name for name in names if len(name) > LONGEST_NAME] == []

"""Traces: the lines that each test executes, from one run of the tests under coverage, kept until a source changes.

A line that runs while a module is imported belongs to no single test (see `killers`). Lines that run in processes
started by a test count for the coverage, not for the test.
"""

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import coverage

from .tracing import OUTCOMES

RC = """
[run]
source = {tree}/ebm_cli
data_file = {data}/data
parallel = true
patch = subprocess
disable_warnings = module-not-imported, no-data-collected, module-not-measured, couldnt-parse, already-imported
"""


@dataclass
class Traces:
    """Source file → line → the tests that execute it ("" for an import or another process); test → its seconds.

    Only tests that pass are here: a test that fails on the unchanged source would kill every mutant.
    """

    lines: dict[str, dict[int, set[str]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def killers(self, path: str, first: int, last: int, scope: str) -> list[str]:
        """The tests that may notice a change to these lines, the fastest first.

        Args:
            path: of the source file.
            first, last: the lines.
            scope: "module" for lines that run at import, which any test of the file may notice; else "function".
        """
        file = self.lines.get(path, {})
        wanted = file.values() if scope == "module" else [file.get(line, set()) for line in range(first, last + 1)]
        return sorted(set().union(*wanted) & set(self.seconds), key=lambda test: (self.seconds[test], test))

    def missing(self, tree: Path) -> dict[str, tuple[int, list[int]]]:
        """Source file → its number of statements, and the lines that no test executes."""
        found = {}
        for source in sorted((tree / "ebm_cli").rglob("*.py")):
            path = str(source.relative_to(tree))
            _, statements, _, _, _ = coverage.Coverage(data_file=None).analysis2(str(source))
            found[path] = len(statements), [line for line in statements if not self.lines.get(path, {}).get(line)]
        return found


def span(source: str, line: int) -> tuple[int, int, str]:
    """First and last line of the innermost statement (of its header, if it has a body), and its scope for `killers`."""
    best, scope = (line, line), "module"

    def visit(node: ast.AST, inside: str) -> None:
        nonlocal best, scope
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt | ast.excepthandler):
                body: list[ast.stmt] = getattr(child, "body", [])
                low = min([child.lineno, *(d.lineno for d in getattr(child, "decorator_list", []))])
                high = max(low, body[0].lineno - 1 if body else child.end_lineno or low)
                if low <= line <= high:
                    best, scope = (low, high), inside
            visit(child, "function" if isinstance(child, ast.FunctionDef) and line >= child.body[0].lineno else inside)

    visit(ast.parse(source), "module")
    return *best, scope


def trace(tree: Path, store: Path) -> Traces:
    """The traces of a tree: the stored ones, with changed test files traced again, or all if a source changed."""
    stored = store / "traces.json"
    nothing: dict[str, Any] = {"sources": "", "tests": {}, "lines": {}, "seconds": {}}
    old = json.loads(stored.read_text()) if stored.is_file() else nothing
    test_files = {path for path in (tree / "tests").rglob("test_*.py") if _is_traced(path)}
    tests = {str(path.relative_to(tree)): _hash([path]) for path in sorted(test_files)}
    helpers = {path for path in (tree / "tests").rglob("*.py") if _is_traced(path)} - test_files
    sources = _hash(sorted([*(tree / "ebm_cli").rglob("*.py"), *(tree / "conf").rglob("*.yaml"), *helpers]))
    if old["sources"] != sources:
        old = nothing
    changed = [path for path, digest in tests.items() if old["tests"].get(path) != digest]
    gone = {path for path in old["tests"] if path not in tests} | set(changed)
    lines: dict[str, dict[int, set[str]]] = {
        path: {int(line): {test for test in by if test.partition("::")[0] not in gone} for line, by in file.items()}
        for path, file in old["lines"].items()
    }
    seconds = {test: spent for test, spent in old["seconds"].items() if test.partition("::")[0] not in gone}
    if changed:
        print(f"tracing {len(changed)} files of tests", flush=True)
        _run(tree, store, changed)
        _merge(tree, store, lines, seconds)
        written = {path: {line: sorted(by) for line, by in file.items()} for path, file in lines.items()}
        stored.write_text(json.dumps({"sources": sources, "tests": tests, "lines": written, "seconds": seconds}))
    return Traces(lines, seconds)


def _run(tree: Path, store: Path, files: list[str]) -> None:
    data = store / "coverage"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    config = store / "coveragerc"
    config.write_text(RC.format(tree=tree, data=data))
    command = f"-m coverage run --rcfile={config} -m pytest -q -n 2 -p no:cacheprovider -p tests.mutants.tracing"
    with (store / "trace.log").open("w") as log:
        ran = subprocess.run(
            [sys.executable, *command.split(), *files],
            cwd=tree, env=environment(tree) | {OUTCOMES: str(store / "outcomes.json")},
            stdout=log, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    # Code 1 means failed tests, which are left out of the traces; without any trace every mutant would survive.
    if ran.returncode not in (0, 1):
        raise RuntimeError(f"the tests did not run under coverage (pytest ended with {ran.returncode}): {log.name}")


def _merge(tree: Path, store: Path, lines: dict[str, dict[int, set[str]]], seconds: dict[str, float]) -> None:
    outcomes = json.loads((store / "outcomes.json").read_text())
    seconds.update({test: spent for test, (spent, passed) in outcomes.items() if passed})
    for part in sorted((store / "coverage").iterdir()):
        data = coverage.CoverageData(basename=str(part))
        try:
            data.read()
        except coverage.exceptions.DataError:
            continue  # a test killed this process
        for name in data.measured_files():
            file = lines.setdefault(str(Path(name).relative_to(tree)), {})
            for line, by in data.contexts_by_lineno(name).items():
                file.setdefault(line, set()).update(by)


def environment(tree: Path) -> dict[str, str]:
    """The environment of a process: one thread, and the package of the tree before the installed one."""
    return os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def _is_traced(path: Path) -> bool:
    """True for the files of the tests, apart from the benchmarks and this package."""
    return not {"benchmarks", "mutants"} & set(path.parts)


def _hash(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(str(path.name).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()

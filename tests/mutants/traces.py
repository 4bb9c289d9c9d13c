"""Which test executes which line: one run of the tests under coverage, kept until a source changes.

A line that runs while a module is imported belongs to no one test: see `killers`. Processes that a test starts are
counted for the coverage of lines, not for the test.
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

    Only a test that passes is here: one that fails on the source as it is would kill every mutant.
    """

    lines: dict[str, dict[int, set[str]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def killers(self, path: str, first: int, last: int, scope: str) -> list[str]:
        """The tests to run on a change to these lines, quickest first.

        scope: "module" for lines that run at import, which any test of the file may notice; "function" for others.
        """
        file = self.lines.get(path, {})
        wanted = file.values() if scope == "module" else [file.get(line, set()) for line in range(first, last + 1)]
        return sorted(set().union(*wanted) & set(self.seconds), key=lambda test: (self.seconds[test], test))

    def missing(self, tree: Path) -> dict[str, tuple[int, list[int]]]:
        """Source file → its number of statements, and the lines that nothing executes."""
        found = {}
        for source in sorted((tree / "ebm_cli").rglob("*.py")):
            path = str(source.relative_to(tree))
            _, statements, _, _, _ = coverage.Coverage(data_file=None).analysis2(str(source))
            found[path] = len(statements), [line for line in statements if not self.lines.get(path, {}).get(line)]
        return found


def span(source: str, line: int) -> tuple[int, int, str]:
    """The lines of the innermost statement (of its header, where it has a body), and whether a function runs it."""
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
    """The traces of a tree: those stored, with the test files that changed traced again, or all where a source did."""
    stored = store / "traces.json"
    nothing: dict[str, Any] = {"sources": "", "tests": {}, "lines": {}, "seconds": {}}
    old = json.loads(stored.read_text()) if stored.is_file() else nothing
    tests = {str(path.relative_to(tree)): _hash([path]) for path in sorted((tree / "tests").rglob("test_*.py"))}
    shared = [*(tree / "ebm_cli").rglob("*.py"), *(tree / "conf").rglob("*.yaml"), *(tree / "tests").glob("*.py")]
    sources = _hash(sorted(shared))
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
        # Some tests may fail under a tracer; those are no killers.
        subprocess.run(
            [sys.executable, *command.split(), *files],
            cwd=tree, env=environment(tree) | {OUTCOMES: str(store / "outcomes.json")},
            stdout=log, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip


def _merge(tree: Path, store: Path, lines: dict[str, dict[int, set[str]]], seconds: dict[str, float]) -> None:
    outcomes = json.loads((store / "outcomes.json").read_text())
    seconds.update({test: spent for test, (spent, passed) in outcomes.items() if passed})
    for part in sorted((store / "coverage").iterdir()):
        data = coverage.CoverageData(basename=str(part))
        try:
            data.read()
        except coverage.exceptions.DataError:
            continue  # of a process that a test killed
        for name in data.measured_files():
            file = lines.setdefault(str(Path(name).relative_to(tree)), {})
            for line, by in data.contexts_by_lineno(name).items():
                file.setdefault(line, set()).update(by)


def environment(tree: Path) -> dict[str, str]:
    """One thread for each process, and the tree's own package before the installed one."""
    return os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def _hash(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(str(path.name).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()

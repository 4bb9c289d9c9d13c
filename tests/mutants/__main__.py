"""`python -m tests.mutants`: change a formula, run the tests of its line, and count the changes that no test notices.

    python -m tests.mutants [n=300] [seed=0] [only=evaluation/chains] [again=1]

Draw n mutants with the seed (`sample`). Run each in a copy of the tree against the tests that execute its line
(`traces`), the fastest first, until one fails or `MAX_SECONDS` of tests have passed. only=TEXT runs the mutants whose
file, operator or line contains the text; again=1 runs those that survived the last time. The report goes to
outputs/mutants.md when the whole sample has been run.

Cost: one run of all tests under coverage (kept in build/mutants until a source changes), then about ten seconds for
each mutant on two cores.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from . import page
from .sample import Mutant, sample
from .traces import Traces, environment, span, trace

REPO = Path(__file__).resolve().parents[2]
STORE = REPO / "build" / "mutants"
"""Folder of the traces and of the results so far."""
REPORT = REPO / "outputs" / "mutants.md"
WORKERS = 2
MAX_SECONDS = 30.0
"""Limit of the usual processor time of the tests on one mutant: an hour of tests execute a line that all runs share."""


def main(words: Sequence[str]) -> int:
    options = dict(word.split("=", 1) for word in words if "=" in word)
    if len(options) < len(words) or set(options) - {"n", "seed", "only", "again"}:
        print(__doc__, file=sys.stderr)
        return 2
    n, seed = int(options.get("n", 300)), int(options.get("seed", 0))
    STORE.mkdir(parents=True, exist_ok=True)
    stored = STORE / f"results-{n}-{seed}.json"
    results: dict[str, list[str]] = json.loads(stored.read_text()) if stored.is_file() else {}
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        trees = [_copy(Path(folder) / str(i)) for i in range(WORKERS)]
        traces = trace(trees[0], STORE)
        mutants = sample(trees[0], n, seed)
        chosen = [m for m in mutants if options.get("only", "") in m.name]
        if options.get("again", "0") != "0":
            chosen = [m for m in chosen if results.get(m.name, ["survived"])[0] == "survived"]
        elif not options.get("only"):
            results = {}
        for done, (mutant, result) in enumerate(_outcomes(chosen, traces, trees), 1):
            results[mutant.name] = list(result)
            stored.write_text(json.dumps(results, indent=1))
            print(f"{done}/{len(chosen)} {result[0]:9} {mutant.name}  [{result[1]}]", flush=True)
        ran = [(m, results[m.name][0]) for m in mutants if m.name in results]
        text = page.render(ran, traces.missing(trees[0]), seed)
    print(text)
    if len(ran) == n:
        REPORT.parent.mkdir(exist_ok=True)
        REPORT.write_text(text)
        print(f"written to {REPORT}", file=sys.stderr)
    return 0


def _copy(tree: Path) -> Path:
    """Copy the working tree without the files that git ignores: a mutant is never written into the checkout."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=REPO, check=True, capture_output=True, text=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (REPO / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPO / name, tree / name)
    return tree


def _outcomes(
    mutants: Sequence[Mutant], traces: Traces, trees: Sequence[Path]
) -> Iterator[tuple[Mutant, tuple[str, str]]]:
    """Each mutant with its outcome and the test that decided it, in order; `WORKERS` run at a time."""
    workers: SimpleQueue[subprocess.Popen[str]] = SimpleQueue()
    started = [
        subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.worker"],
            cwd=tree, env=environment(tree), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for tree in trees
    ]  # fmt: skip
    for worker in started:
        workers.put(worker)

    def outcome_of(mutant: Mutant) -> tuple[str, str]:
        tests = _tests_of(mutant, traces)
        if not tests:
            return "survived", "no test executes the line"
        worker = workers.get()
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(json.dumps([mutant.site.path, mutant.source, tests]) + "\n")
        worker.stdin.flush()
        outcome, test = json.loads(worker.stdout.readline())
        workers.put(worker)
        return outcome, test

    try:
        with ThreadPoolExecutor(WORKERS) as pool:
            yield from zip(mutants, pool.map(outcome_of, mutants), strict=True)
    finally:
        for worker in started:
            worker.terminate()
            worker.wait()


def _tests_of(mutant: Mutant, traces: Traces) -> list[tuple[str, float]]:
    """The tests that execute the mutated line with their seconds, the fastest first, within `MAX_SECONDS`."""
    site = mutant.site
    # The source of the checkout: the trees of the workers may hold a mutant.
    original = (REPO / site.path).read_text()
    chosen: list[tuple[str, float]] = []
    spent = 0.0
    for test in traces.killers(site.path, *span(original, site.line)):
        spent += traces.seconds[test]
        if chosen and spent > MAX_SECONDS:
            break
        chosen.append((test, traces.seconds[test]))
    return chosen


if __name__ == "__main__":
    os.chdir(REPO)
    sys.exit(main(sys.argv[1:]))

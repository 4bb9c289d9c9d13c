"""The lecture's claims, one process an experiment, joined in one page: `make lecture`.

    python -m tests.lecture_page [only=NAME,NAME] [root=outputs/lecture] [again=1]

An experiment that is finished in `root` is not repeated, unless `again` is given, and one that was interrupted resumes.
The page, `root`/index.html, holds its pictures and needs no other file. Exit code 1 if a claim failed.
"""

import html
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ebm_cli.comparison.charts import data_uri

REPO = Path(__file__).resolve().parents[1]
FOLDER = REPO / "conf" / "experiment" / "lecture"
COURSE = REPO / "docs" / "tutorials" / "lecture.md"
KEYS = {"only": "", "root": "outputs/lecture", "again": ""}
STYLE = """
:root { color-scheme: light dark; --ink: #222; --pale: #666; --paper: #fff; --line: #ddd; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e2dd; --pale: #a5a29a; --paper: #1b1b1a; --line: #3c3b38; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
       max-width: 780px; padding: 16px; }
img { width: 100%; border-radius: 4px; }
h2 { margin: 48px 0 4px; font-size: 1.2rem; }
code { font-size: 0.9em; overflow-wrap: anywhere; }
table { border-collapse: collapse; font-size: 0.85rem; }
td, th { border-bottom: 1px solid var(--line); padding: 4px 8px; text-align: left; vertical-align: top; }
.scroll { overflow-x: auto; }
.pass, .fail, .not { font-weight: 600; white-space: nowrap; }
.pass { color: #18804f; } .fail { color: #c23b22; } .not { color: #a07400; }
@media (prefers-color-scheme: dark) { .pass { color: #57c08d; } .fail { color: #f08a72; } .not { color: #d9b44a; } }
.pale { color: var(--pale); }
"""


class Found(NamedTuple):
    """The result of an experiment in its directory; verdicts and rows are empty if it did not end."""

    name: str
    title: str
    claim: str
    verdicts: list[dict[str, Any]]
    rows: list[dict[str, Any]]
    figure: bytes | None

    @property
    def passed(self) -> bool | None:
        """None if nothing was judged."""
        known = [verdict["passed"] for verdict in self.verdicts if verdict["passed"] is not None]
        return all(known) if known else None


def main(words: Sequence[str]) -> int:
    """Run the experiments and write the page; the exit code."""
    given = dict(word.split("=", 1) for word in words)
    unknown = set(given) - set(KEYS)
    if unknown:
        print(f"{min(unknown)}: no such key; there are {', '.join(KEYS)}", file=sys.stderr)
        return 2
    keys = KEYS | given
    names, root = experiments(), Path(keys["root"])
    wanted = [name for name in keys["only"].split(",") if name]
    missing = sorted(set(wanted) - set(names))
    if missing:
        print(f"only={missing[0]}: no such experiment; there are {', '.join(names)}", file=sys.stderr)
        return 2
    found = []
    for name in wanted or names:
        if keys["again"]:
            shutil.rmtree(root / name, ignore_errors=True)
        before, code = _written(root / name), run(name, root / name)
        # A command that was refused, such as one in a directory of another version's runs, has judged nothing.
        is_judged = code == 0 or _written(root / name) != before
        found.append(read(name, root / name) if is_judged else read(name, None))
    root.mkdir(parents=True, exist_ok=True)
    (root / "index.html").write_text(page(found), encoding="utf-8")
    for one in found:
        print(f"{_word(one.passed):8} {one.name}: {one.title}")
    print(f"page: {root / 'index.html'}")
    return 0 if all(one.passed for one in found) else 1


def experiments() -> list[str]:
    """Names of the experiments of the lecture, in the order of the course."""
    course = COURSE.read_text(encoding="utf-8")
    return sorted((path.stem for path in FOLDER.glob("*.yaml")), key=lambda name: course.index(command(name)))


def command(name: str) -> str:
    """The command that repeats an experiment."""
    return f"ebm train experiment=lecture/{name}"


def run(name: str, directory: Path) -> int:
    """Run one experiment in a process of its own; its exit code."""
    words = [f"experiment=lecture/{name}", f"hydra.run.dir={directory}", f"hydra.sweep.dir={directory}"]
    return subprocess.run([sys.executable, "-m", "ebm_cli", "train", *words], check=False).returncode


def _written(directory: Path) -> int:
    """Time of the verdicts in a directory; 0 without any."""
    file = directory / "claims.json"
    return file.stat().st_mtime_ns if file.is_file() else 0


def read(name: str, directory: Path | None) -> Found:
    """Read the verdicts, numbers and figure of an experiment from its directory; None is one that did not end."""
    lines = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    title = lines[1].removeprefix("# ")
    if directory is None:
        return Found(name, title, title, [], [], None)
    verdicts = _json(directory / "claims.json", [])
    numbers = _json(directory / "numbers.json", {})
    figure = directory / "figures" / "measurement.png"
    image = figure.read_bytes() if figure.is_file() else None
    return Found(name, title, numbers.get("claim", title), verdicts, numbers.get("rows", []), image)


def _json(path: Path, default: Any) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else default


def page(found: Sequence[Found]) -> str:
    """One page with every claim, its verdict, its figure and its numbers."""
    overview = "".join(
        f'<tr><td>{_badge(one.passed)}</td><td><a href="#{one.name}">{_text(one.title)}</a></td></tr>' for one in found
    )
    n_passed = sum(one.passed is True for one in found)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>The lecture, reproduced</title><style>{STYLE}</style>"
        "<h1>The lecture, reproduced</h1>"
        f"<p>{n_passed} of {len(found)} claims hold as measured here. Each is one command.</p>"
        f'<div class="scroll"><table>{overview}</table></div>'
        f"{''.join(map(_section, found))}</html>\n"
    )


def _section(one: Found) -> str:
    image = f'<img alt="{_text(one.claim)}" src="{data_uri(one.figure)}">' if one.figure else ""
    verdicts = [
        {"": _badge(verdict["passed"]), "statement": _text(verdict["claim"]), "measured": _text(verdict["what"])}
        for verdict in one.verdicts
    ]
    rows = [{_text(key): _number(value) for key, value in row.items()} for row in one.rows]
    numbers = f"<details><summary>numbers</summary>{_table(rows)}</details>" if rows else ""
    judged = _table(verdicts) if verdicts else '<p class="pale">It did not end.</p>'
    return (
        f'<h2 id="{one.name}">{_badge(one.passed)} {_text(one.title)}</h2>'
        f'<p class="pale"><code>{command(one.name)}</code></p>{image}{judged}{numbers}'
    )


def _table(rows: Sequence[dict[str, str]]) -> str:
    """Rows of HTML as a table that scrolls on a narrow screen."""
    head = "".join(f"<th>{key}</th>" for key in rows[0])
    body = "".join(f"<tr>{''.join(f'<td>{value}</td>' for value in row.values())}</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def _badge(passed: bool | None) -> str:
    return f'<span class="{_word(passed).split()[0].lower()}">{_word(passed)}</span>'


def _word(passed: bool | None) -> str:
    return {True: "PASS", False: "FAIL", None: "NOT RUN"}[passed]


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else _text(value)


def _text(value: Any) -> str:
    return html.escape(str(value))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

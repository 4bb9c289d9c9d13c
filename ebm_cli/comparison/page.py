"""A comparison as one HTML file: no script, no other file, nothing fetched, in the reader's light or dark theme."""

import html
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ebm_cli.comparison import charts
from ebm_cli.comparison.columns import Measure
from ebm_cli.comparison.groups import MISSING, Comparison, Group, Section, conclusion, differing, overall, settings
from ebm_cli.comparison.tables import FLOOR, cell
from ebm_cli.reporting.format import format_value
from ebm_cli.runs.record import Record

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""The browser's own promise that the page fetches nothing."""
ARROWS = {"low": "↓", "high": "↑", "half": "→½", "none": ""}


@dataclass(frozen=True)
class Panel:
    """Pictures of the data, or of one group.

    Args:
        label: the group's label, or what the pictures show.
        images: what each picture is → a PNG.
        note: said in place of pictures, or below them.
        wide: one picture that holds everything, as a run leaves it.
    """

    label: str
    images: Mapping[str, bytes]
    note: str = ""
    wide: bool = False


def render(comparison: Comparison, panels: Mapping[str, Sequence[Panel]], made: str) -> str:
    """The page.

    Args:
        comparison: what it shows.
        panels: section's name → the pictures for it.
        made: when and by what, for the last line.
    """
    numbers = charts.colours([group.label for group in comparison.groups])
    counted = sum(len(group.records) for group in comparison.groups)
    verdicts = [conclusion(section) for section in comparison.sections]
    total = overall(comparison)
    body = [
        "<header>",
        f"<p class=kicker>{counted} runs, grouped by {esc(', '.join(comparison.by))}</p>",
        "<h1>Which one to use</h1>",
        *([f"<p class=lead>{esc(total)}</p>"] if total else []),
        "<ul class=verdicts>",
        *(f"<li>{_verdict(verdict)}</li>" for verdict in verdicts),
        "</ul>",
        *(f"<p class=notice>{esc(notice)}</p>" for notice in comparison.notices),
        "</header>",
    ]
    for section in comparison.sections:
        body += [
            f"<section><h2>{esc(section.name or 'all runs')}</h2>",
            _table(comparison, section, numbers),
            _pictures(panels.get(section.name, ()), numbers),
            _charts(section, numbers),
            "</section>",
        ]
    body += [_excluded(comparison.excluded), _legend(comparison), _configs(comparison), _versions(comparison)]
    body.append(f"<footer>{esc(made)}</footer>")
    return _PAGE.format(policy=POLICY, style=_STYLE, title=esc(_title(comparison)), body="\n".join(filter(None, body)))


def esc(text: str) -> str:
    """The text as HTML shows it, also inside a quoted attribute."""
    return html.escape(text, quote=True)


def _title(comparison: Comparison) -> str:
    names = [section.name for section in comparison.sections if section.name]
    return "ebm compare" + (f": {', '.join(names)}" if names else "")


def _verdict(sentence: str) -> str:
    where, colon, rest = sentence.partition(": ")
    return f"<b>{esc(where)}</b>{colon}{esc(rest)}" if colon and "," not in where else esc(sentence)


def _dot(label: str, numbers: Mapping[str, int]) -> str:
    number = numbers.get(label)
    if number is None:
        return ""
    colour = charts.COLOURS[number % len(charts.COLOURS)]
    return f'<span class=dot style="background:{colour}"></span>'


def _table(comparison: Comparison, section: Section, numbers: Mapping[str, int]) -> str:
    qualities, costs = section.shown(comparison.qualities), section.shown(comparison.costs)
    columns, first_cost = qualities + costs, next(iter(costs), None)

    def head(measure: Measure) -> str:
        title = esc(f"{measure.key}: {measure.meaning}" if measure.meaning else measure.key)
        arrow = f"<i>{ARROWS[measure.goal]}</i>" if measure.ranks else ""
        edge = " class=edge" if measure is first_cost else ""
        return f'<th scope=col title="{title}"{edge}>{esc(measure.label)}{arrow}</th>'

    def data(group: Group, measure: Measure) -> str:
        mean, sd, lacking, best = cell(section, group, measure)
        washed = best and measure in qualities
        classes = [name for name, on in (("best", washed), ("edge", measure is first_cost)) if on]
        mark = f' class="{" ".join(classes)}"' if classes else ""
        below = f"<small>± {esc(sd)}</small>" if sd else ""
        few = f"<small>n = {len(group.records) - lacking}</small>" if lacking else ""
        shown = f"<b>{esc(mean)}</b>" if best else esc(mean)
        return f"<td{mark}>{shown}{below}{few}</td>"

    rows = [
        f"<tr><th scope=row>{_dot(group.label, numbers)}{esc(group.label)}</th><td>{len(group.records)}</td>"
        + "".join(data(group, measure) for measure in columns)
        + "</tr>"
        for group in section.groups
    ]
    if section.floors:
        floors = [
            f"<td{' class=edge' if m is first_cost else ''}>"
            f"{esc(format_value(section.floors[m.key])) if m.key in section.floors else ''}</td>"
            for m in columns
        ]
        rows.append(f"<tr class=floor><th scope=row>{FLOOR}</th><td></td>{''.join(floors)}</tr>")
    spans = [("quality", len(qualities), ""), ("cost", len(costs), " class=edge")]
    over = "".join(f"<th colspan={n}{edge}>{name}</th>" for name, n, edge in spans if n)
    return (
        "<div class=scroll><table><thead>"
        f"<tr class=over><th></th><th></th>{over}</tr>"
        f"<tr><th></th><th scope=col title='runs'>n</th>{''.join(head(m) for m in columns)}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _pictures(panels: Sequence[Panel], numbers: Mapping[str, int]) -> str:
    if not panels:
        return ""
    size = "panels large" if any(panel.wide for panel in panels) else "panels"
    figures = []
    for panel in panels:
        images = "".join(
            f'<img src="{charts.data_uri(png)}" alt="{esc(f"{panel.label}: {what}")}" title="{esc(what)}">'
            for what, png in panel.images.items()
        )
        note = f"<p class=note>{esc(panel.note)}</p>" if panel.note else ""
        caption = f"<figcaption>{_dot(panel.label, numbers)}{esc(panel.label)}</figcaption>"
        figures.append(f"<figure>{caption}{images}{note}</figure>")
    said = sorted({what for panel in panels for what in panel.images if not panel.wide})
    told = f"<p class=note>From above: {esc(', '.join(said))}. The run in the middle of each group.</p>" if said else ""
    title = "Densities and samples" if said else "Data and samples"
    return f"<h3>{title}</h3><div class='{size}'>{''.join(figures)}</div>{told}"


def _charts(section: Section, numbers: Mapping[str, int]) -> str:
    judge = section.judge
    if judge is None:
        return ""
    drawn = []
    for name, cost in (("training time, s", _seconds), ("evaluations of ∇ₓf in all", _gradients)):
        clouds = [
            charts.Cloud(group.label, numbers[group.label], _points(group.records, cost, judge))
            for group in section.groups
        ]
        if any(x > 0 for cloud in clouds for x, _ in cloud.points):
            svg = charts.quality_against_cost(clouds, name, f"{judge.label}", judge.positive)
            alt = esc(f"{judge.key} of each group against {name}")
            drawn.append(f'<img src="{charts.data_uri(svg)}" alt="{alt}">')
    if not drawn:
        return ""
    chips = "".join(f"<span class=chip>{_dot(g.label, numbers)}{esc(g.label)}</span>" for g in section.groups)
    return f"<h3>Quality against cost</h3><div class=charts>{''.join(drawn)}</div><p class=chips>{chips}</p>"


def _points(
    records: Iterable[Record], cost: Callable[[Record], float | None], judge: Measure
) -> list[tuple[float, float]]:
    pairs = [(cost(record), judge(record)) for record in records]
    return [(x, y) for x, y in pairs if x is not None and y is not None]


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _seconds(record: Record) -> float | None:
    return _number(record.results.get("cost/seconds"))


def _gradients(record: Record) -> float | None:
    """Those of the whole run: a step's, per row, for each row of each step."""
    factors = [
        _number(v) for v in (record.results.get("cost/grad_evals"), record.step, record.config.get("batch_size"))
    ]
    evals, steps, rows = factors
    return None if evals is None or steps is None or rows is None else evals * steps * rows


def _excluded(excluded: Sequence[tuple[Record, str]]) -> str:
    if not excluded:
        return ""
    rows = "".join(
        f'<tr><td><span class="state {esc(record.state)}">{esc(record.state)}</span></td>'
        f"<td>{esc(' on '.join(record.options.get(group, '?') for group in ('method', 'dataset')))}</td>"
        f"<td>{esc(why)}</td><td><code>{esc(str(record.path))}</code></td></tr>"
        for record, why in excluded
    )
    return (
        f"<section><h2>Not counted</h2><p>{len(excluded)} of the runs did not finish, or cannot be read: no number of "
        "theirs is in a mean.</p><div class=scroll><table class=list>"
        f"<thead><tr><th>state<th>run<th>why<th>where</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _legend(comparison: Comparison) -> str:
    better = {"low": "lower is better", "high": "higher is better", "half": "the nearer to 0.5 the better", "none": ""}
    rows = "".join(
        f"<tr><th scope=row>{esc(m.label)}</th><td><code>{esc(m.key)}</code></td><td>{esc(m.meaning)}</td>"
        f"<td>{better[m.goal]}</td></tr>"
        for m in comparison.columns
    )
    return (
        "<section><h2>How to read it</h2><p>Mean ± standard deviation (n − 1) over the runs of a group; the best of a "
        f"column in bold; {MISSING} where no run has the result. A row named <i>the data</i> says what the "
        "truth would get: the entropy, or the distance between two samples of the data.</p>"
        f"<details><summary>The columns</summary><div class=scroll><table class=list><tbody>{rows}</tbody></table>"
        "</div></details></section>"
    )


def _configs(comparison: Comparison) -> str:
    """What all runs share, then for each group what it has of its own, and its runs."""
    groups = comparison.groups
    everything = [record for group in groups for record in group.records]
    apart = differing(everything)
    chosen = settings(everything[0])
    shared = [
        f"{key}={value}" for key, value in chosen.items() if all(settings(r).get(key) == value for r in everything)
    ]
    parts = [f"<details><summary>Shared by all</summary><pre>{esc(chr(10).join(shared))}</pre></details>"]
    for section in comparison.sections:
        for group in section.groups:
            varying = differing(group.records)
            own = settings(group.records[0])
            lines = [f"{key}={own[key]}" for key in own if key in apart and key not in varying]
            lines += [f"{key}={', '.join(values)}" for key, values in varying.items()]
            judge = section.judge
            runs = [
                f"{record.path}" + ("" if judge is None else f"  {judge.key}={format_value(judge(record))}")
                for record in group.records
            ]
            name = " · ".join(filter(None, (section.name, group.label)))
            parts.append(
                f"<details><summary>{esc(name)}</summary><pre>{esc(chr(10).join(lines))}</pre>"
                f"<pre>{esc(chr(10).join(runs))}</pre></details>"
            )
    return f"<section><h2>Configs and runs</h2>{''.join(parts)}</section>"


def _versions(comparison: Comparison) -> str:
    kinds = Counter(json.dumps(record.versions) for group in comparison.groups for record in group.records)
    lines = []
    for kind, n in kinds.most_common():
        versions = json.loads(kind)
        said = ", ".join(f"{name} {version[:12] if name == 'git' else version}" for name, version in versions.items())
        lines.append(f"<p>{n} run{'s' if n > 1 else ''}: {esc(said or 'no versions noted')}</p>")
    mixed = "<p class=notice>The runs were not all made by the same versions.</p>" if len(kinds) > 1 else ""
    return f"<section><h2>Versions</h2>{mixed}{''.join(lines)}</section>"


_PAGE = """<!doctype html>
<html lang=en>
<head>
<meta charset=utf-8>
<meta name=viewport content="width=device-width, initial-scale=1">
<meta http-equiv=Content-Security-Policy content="{policy}">
<meta name=color-scheme content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""

_STYLE = """
:root { color-scheme: light dark; --paper: #fcfbf8; --card: #fff; --ink: #211f1c; --soft: #6d6a63; --rule: #e4e0d7;
  --best: #0d6b4f; --wash: #eaf4ef; --warn: #8a5a00; --warn-wash: #fdf3dc; --bad: #b3372b; }
@media (prefers-color-scheme: dark) { :root { --paper: #161715; --card: #1f201e; --ink: #ece9e2; --soft: #a09c93;
  --rule: #34342f; --best: #7fd6b4; --wash: #1c2f28; --warn: #e7c27a; --warn-wash: #2d2616; --bad: #ef8b7f; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 3.5rem 1.5rem 4rem; }
header { max-width: 52rem; }
.kicker { color: var(--soft); margin: 0; font-size: .9rem; }
h1 { font: 600 2.5rem/1.15 ui-serif, "Iowan Old Style", Charter, Georgia, "Times New Roman", serif;
  margin: .2rem 0 1rem; letter-spacing: -.01em; }
h2 { font: 600 1.5rem/1.2 ui-serif, "Iowan Old Style", Charter, Georgia, "Times New Roman", serif; margin: 0 0 1rem; }
h3 { font-size: .95rem; font-weight: 600; margin: 2rem 0 .7rem; }
section { margin-top: 3.2rem; padding-top: 1.6rem; border-top: 1px solid var(--rule); }
.lead { font-size: 1.15rem; margin: 0 0 .6rem; }
.verdicts { list-style: none; padding: 0; margin: 0; }
.verdicts li { padding: .55rem 0 .55rem 1rem; border-left: 3px solid var(--best); margin: .6rem 0; }
.notice { background: var(--warn-wash); color: var(--warn); padding: .55rem .9rem; border-radius: 6px; }
.note { color: var(--soft); font-size: .85rem; }
.scroll { overflow-x: auto; margin: 0 -1.5rem; padding: 0 1.5rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .5rem .6rem; text-align: right; vertical-align: top; white-space: nowrap; }
thead th { color: var(--soft); font-weight: 500; font-size: .8rem; vertical-align: bottom; }
thead th[title] { cursor: help; }
thead th i { font-style: normal; margin-left: .2em; opacity: .7; }
tr.over th { text-align: left; padding-bottom: 0; font-size: .72rem; letter-spacing: .08em; text-transform: uppercase; }
tbody tr { border-top: 1px solid var(--rule); }
tbody tr:last-child { border-bottom: 1px solid var(--rule); }
th[scope=row] { text-align: left; font-weight: 600; position: sticky; left: 0; background: var(--paper); }
td small { display: block; color: var(--soft); font-size: .78em; line-height: 1.3; }
td.best { background: var(--wash); }
td.best b { color: var(--best); }
.edge { border-left: 1px solid var(--rule); }
.floor td, .floor th[scope=row] { color: var(--soft); font-weight: 400; font-style: italic; }
table.list { width: 100%; }
table.list th, table.list td { text-align: left; white-space: normal; }
table.list code { overflow-wrap: anywhere; }
.dot { display: inline-block; width: .65em; height: .65em; border-radius: 50%; margin-right: .5em; }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 1rem; }
figure { margin: 0; }
figcaption { font-size: .85rem; font-weight: 600; margin-bottom: .35rem; overflow-wrap: anywhere; }
figure img { display: block; width: 100%; background: #fff; border-radius: 6px; margin-bottom: .5rem;
  border: 1px solid var(--rule); }
.panels.large { grid-template-columns: repeat(auto-fill, minmax(380px, 1fr)); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); gap: 1.5rem; max-width: 980px; }
.charts img { width: 100%; }
.chips { margin: .4rem 0 0; font-size: .85rem; }
.chip { margin-right: 1.2em; white-space: nowrap; }
.state { font-weight: 600; color: var(--warn); }
.state.diverged, .state.failed, .state.broken, .state.lost { color: var(--bad); }
details { border-top: 1px solid var(--rule); padding: .5rem 0; }
summary { cursor: pointer; }
pre, code { font: .82rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
pre { overflow-x: auto; background: var(--card); border: 1px solid var(--rule); border-radius: 6px;
  padding: .8rem 1rem; max-height: 26rem; }
footer { margin-top: 3rem; color: var(--soft); font-size: .85rem; }
@media print { details { display: none; } .scroll { overflow: visible; } }
"""

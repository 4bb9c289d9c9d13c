"""A comparison as one HTML file: no script, no other file, nothing fetched, in the reader's light or dark theme.

The frame of the page is `page.html` and its style `page.css`, beside this module.
"""

import html
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from string import Template

from ebm_cli.comparison import charts
from ebm_cli.comparison.columns import Column
from ebm_cli.comparison.conclusions import conclusion, overall, warnings
from ebm_cli.comparison.cost_charts import against_cost
from ebm_cli.comparison.groups import Comparison, Group, Section
from ebm_cli.comparison.settings import MISSING, differing_settings, settings_of
from ebm_cli.comparison.tables import REFERENCE_ROW, cell
from ebm_cli.evaluation.values import format_value
from ebm_cli.runs.record import Record

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Content security policy: the browser refuses whatever the page would fetch."""
ARROWS = {"low": "↓", "high": "↑", "half": "→½", "none": ""}
N_MAIN = 5
"""Columns of quality beside those of cost: the first ones."""
BETTER = {"low": "lower is better", "high": "higher is better", "half": "the nearer to 0.5 the better", "none": ""}


@dataclass(frozen=True)
class Panel:
    """Pictures of the data, or of one group.

    Args:
        label: the group's label, or what the pictures show.
        images: what each picture shows → a PNG.
        note: text in place of pictures, or below them.
        wide: one picture of everything, as a run writes it.
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
        made: date and version, for the last line.
    """
    numbers = charts.number_labels([group.label for group in comparison.groups])
    n_runs = sum(len(group.records) for group in comparison.groups)
    total = overall(comparison)
    body = [
        "<header>",
        f"<p class=kicker>{n_runs} runs, grouped by {escape(', '.join(comparison.by))}</p>",
        "<h1>Which one to use</h1>",
        *([f"<p class=lead>{escape(total)}</p>"] if total else []),
        "<ul class=verdicts>",
        *(f"<li>{_conclusion(section)}</li>" for section in comparison.sections),
        "</ul>",
        *(f"<p class=notice>{escape(notice)}</p>" for notice in warnings(comparison)),
        "</header>",
    ]
    for section in comparison.sections:
        body += [
            f"<section><h2>{escape(section.name or 'all runs')}</h2>",
            _tables(comparison, section, numbers),
            _pictures(panels.get(section.name, ()), numbers),
            _charts(section, numbers),
            "</section>",
        ]
    body += [_excluded(comparison.excluded), _legend(comparison), _configs(comparison), _versions(comparison)]
    body.append(f"<footer>{escape(made)}</footer>")
    here = files(__package__)
    return Template(here.joinpath("page.html").read_text(encoding="utf-8")).substitute(
        policy=POLICY,
        style=here.joinpath("page.css").read_text(encoding="utf-8"),
        title=escape(_title(comparison)),
        body="\n".join(filter(None, body)),
    )


def escape(text: str) -> str:
    """The text escaped for HTML, also inside a quoted attribute."""
    return html.escape(text, quote=True)


def _title(comparison: Comparison) -> str:
    names = [section.name for section in comparison.sections if section.name]
    return "ebm compare" + (f": {', '.join(names)}" if names else "")


def _conclusion(section: Section) -> str:
    """The conclusion with the data set, if it names one, in bold."""
    sentence = conclusion(section).replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")
    where, colon, rest = sentence.partition(": ")
    return f"<b>{escape(where)}</b>{colon}{escape(rest)}" if colon and "," not in where else escape(sentence)


def _dot(label: str, numbers: Mapping[str, int]) -> str:
    """The dot in the group's colour; empty for a label without one."""
    i = numbers.get(label)
    if i is None:
        return ""
    colour = charts.COLOURS[i % len(charts.COLOURS)]
    return f'<span class=dot style="background:{colour}"></span>'


def _tables(comparison: Comparison, section: Section, numbers: Mapping[str, int]) -> str:
    """The main results beside the costs, which fit a page of 1,280 pixels; then the other results."""
    qualities, costs = section.present(comparison.qualities), section.present(comparison.costs)
    first = [c for c in (section.ranking,) if c is not None and c not in qualities[:N_MAIN]]
    n_main = len(qualities) if len(qualities) <= N_MAIN + 1 else N_MAIN - len(first)
    main, others = qualities[:n_main] + first, [c for c in qualities[n_main:] if c not in first]
    shown = _table(section, numbers, main, costs)
    return shown + (f"<h3>Other results</h3>{_table(section, numbers, others, [])}" if others else "")


def _table(section: Section, numbers: Mapping[str, int], qualities: Sequence[Column], costs: Sequence[Column]) -> str:
    columns, first_cost = [*qualities, *costs], next(iter(costs), None)
    rows = []
    for group in section.groups:
        cells = (_cell(section, group, c, c in qualities, c is first_cost) for c in columns)
        name = f"<th scope=row>{_dot(group.label, numbers)}{escape(group.label)}</th>"
        rows.append(f"<tr>{name}<td>{len(group.records)}</td>{''.join(cells)}</tr>")
    if any(c.key in section.references for c in qualities):
        references = [
            f"<td{_edge(c is first_cost)}>"
            f"{escape(format_value(section.references[c.key])) if c.key in section.references else ''}</td>"
            for c in columns
        ]
        rows.append(f"<tr class=floor><th scope=row>{REFERENCE_ROW}</th><td></td>{''.join(references)}</tr>")
    spans = [("quality", len(qualities), ""), ("cost", len(costs), _edge(True))]
    over = "".join(f"<th colspan={n}{edge}>{name}</th>" for name, n, edge in spans if n)
    heads = "".join(_head(c, c is first_cost) for c in columns)
    return (
        "<div class=scroll><table><thead>"
        f"<tr class=over><th></th><th></th>{over}</tr>"
        f"<tr><th></th><th scope=col title='runs'>n</th>{heads}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _edge(is_first_cost: bool) -> str:
    """The attribute that draws the line between quality and cost."""
    return " class=edge" if is_first_cost else ""


def _head(column: Column, is_first_cost: bool) -> str:
    title = escape(f"{column.key}: {column.meaning}" if column.meaning else column.key)
    arrow = f"<i>{ARROWS[column.result.better]}</i>" if column.is_ranked else ""
    return f'<th scope=col title="{title}"{_edge(is_first_cost)}>{escape(column.label)}{arrow}</th>'


def _cell(section: Section, group: Group, column: Column, is_quality: bool, is_first_cost: bool) -> str:
    mean, sd, n_lacking, is_best = cell(section, group, column)
    classes = [name for name, on in (("best", is_best and is_quality), ("edge", is_first_cost)) if on]
    mark = f' class="{" ".join(classes)}"' if classes else ""
    below = f"<small>± {escape(sd)}</small>" if sd else ""
    few = f"<small>n = {len(group.records) - n_lacking}</small>" if n_lacking else ""
    shown = f"<b>{escape(mean)}</b>" if is_best else escape(mean)
    return f"<td{mark}>{shown}{below}{few}</td>"


def _pictures(panels: Sequence[Panel], numbers: Mapping[str, int]) -> str:
    if not panels:
        return ""
    size = "panels large" if any(panel.wide for panel in panels) else "panels"
    figures = []
    for panel in panels:
        images = "".join(
            f'<img src="{charts.data_uri(png)}" alt="{escape(f"{panel.label}: {what}")}" title="{escape(what)}">'
            for what, png in panel.images.items()
        )
        note = f"<p class=note>{escape(panel.note)}</p>" if panel.note else ""
        caption = f"<figcaption>{_dot(panel.label, numbers)}{escape(panel.label)}</figcaption>"
        figures.append(f"<figure>{caption}{images}{note}</figure>")
    shown = sorted({what for panel in panels for what in panel.images if not panel.wide})
    legend = ""
    if shown:
        legend = f"<p class=note>From above: {escape(', '.join(shown))}. The median run of each group.</p>"
    title = "Densities and samples" if shown else "Data and samples"
    return f"<h3>{title}</h3><div class='{size}'>{''.join(figures)}</div>{legend}"


def _charts(section: Section, numbers: Mapping[str, int]) -> str:
    column = section.ranking
    if column is None:
        return ""
    notes: list[str] = []
    drawn = [
        f'<img src="{charts.data_uri(svg)}" alt="{escape(alt)}">'
        for alt, svg in against_cost(section, column, numbers, notes)
    ]
    failed = "".join(f"<p class=note>{escape(note)}</p>" for note in notes)
    if not drawn:
        return failed
    chips = "".join(f"<span class=chip>{_dot(g.label, numbers)}{escape(g.label)}</span>" for g in section.groups)
    return f"<h3>Quality against cost</h3><div class=charts>{''.join(drawn)}</div><p class=chips>{chips}</p>{failed}"


def _excluded(excluded: Sequence[tuple[Record, str]]) -> str:
    if not excluded:
        return ""
    rows = "".join(
        f'<tr><td><span class="state {escape(record.state)}">{escape(record.outcome)}</span></td>'
        f"<td>{escape(' on '.join(record.options.get(group, '?') for group in ('method', 'dataset')))}</td>"
        f"<td>{escape(why)}</td><td><code>{escape(str(record.path))}</code></td></tr>"
        for record, why in excluded
    )
    return (
        f"<section><h2>Not counted</h2><p>{len(excluded)} of the runs did not finish or cannot be read; they do not "
        "enter a mean.</p><div class=scroll><table class=list>"
        f"<thead><tr><th>state<th>run<th>why<th>where</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _legend(comparison: Comparison) -> str:
    rows = "".join(
        f"<tr><th scope=row>{escape(c.label)}</th><td><code>{escape(c.key)}</code></td><td>{escape(c.meaning)}</td>"
        f"<td>{BETTER[c.result.better]}</td></tr>"
        for c in comparison.columns
    )
    return (
        "<section><h2>How to read it</h2><p>Mean ± standard deviation (n − 1) over the runs of a group; the best of a "
        f"column in bold; {MISSING} where no run has the result. The row <i>the data</i> holds what the "
        "true density would get: the entropy, or the distance between two samples of the data.</p>"
        f"<details><summary>The columns</summary><div class=scroll><table class=list><tbody>{rows}</tbody></table>"
        "</div></details></section>"
    )


def _configs(comparison: Comparison) -> str:
    """The settings that all runs share, then those of each group, and its runs."""
    everything = [record for group in comparison.groups for record in group.records]
    apart = differing_settings(everything)
    settings = [settings_of(record) for record in everything]
    shared = [
        f"{key}={value}" for key, value in settings[0].items() if all(others.get(key) == value for others in settings)
    ]
    parts = [f"<details><summary>Shared by all</summary><pre>{escape(chr(10).join(shared))}</pre></details>"]
    for section in comparison.sections:
        for group in section.groups:
            varying = differing_settings(group.records)
            own = settings_of(group.records[0])
            lines = [f"{key}={own[key]}" for key in own if key in apart and key not in varying]
            lines += [f"{key}={', '.join(values)}" for key, values in varying.items()]
            column = section.ranking
            runs = [
                f"{record.path}" + ("" if column is None else f"  {column.label} {format_value(column.value(record))}")
                for record in group.records
            ]
            name = " · ".join(filter(None, (section.name, group.label)))
            parts.append(
                f"<details><summary>{escape(name)}</summary><pre>{escape(chr(10).join(lines))}</pre>"
                f"<pre>{escape(chr(10).join(runs))}</pre></details>"
            )
    return f"<section><h2>Configs and runs</h2>{''.join(parts)}</section>"


def _versions(comparison: Comparison) -> str:
    kinds = Counter(json.dumps(record.versions) for group in comparison.groups for record in group.records)
    lines = []
    for kind, n in kinds.most_common():
        versions = json.loads(kind)
        text = ", ".join(f"{name} {version[:12] if name == 'git' else version}" for name, version in versions.items())
        lines.append(f"<p>{n} run{'s' if n > 1 else ''}: {escape(text or 'no versions recorded')}</p>")
    mixed = "<p class=notice>The runs were made by different versions.</p>" if len(kinds) > 1 else ""
    return f"<section><h2>Versions</h2>{mixed}{''.join(lines)}</section>"

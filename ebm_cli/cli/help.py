"""The help pages, read from the config tree: what is documented there is documented here."""

from collections.abc import Sequence

from ebm_cli.config import groups as catalogue


def verbs() -> dict[str, str]:
    """The verbs, with one line of what each does: every YAML at the top of the config tree is one."""
    return {path.stem: catalogue.description(path) for path in sorted(catalogue.conf_dir().glob("*.yaml"))}


def verbs_page() -> str:
    """What `ebm` alone says."""
    return "\n".join(
        [
            "ebm: train energy-based models, and measure them",
            "",
            *_columns([(f"ebm {verb}", text) for verb, text in verbs().items()]),
            "",
            "ebm VERB --help lists a verb's groups, options and keys.  ebm --version",
            'eval "$(ebm -sc install=bash)" completes verbs, groups, options and keys in this shell.',
        ]
    )


def verb_page(verb: str, words: Sequence[str] = ()) -> str:
    """A verb's groups with their options, and its keys as these words (`method=cd`, `--config-dir DIR`) leave them."""
    where = catalogue.search_path(config_dir(words))
    lines = [f"ebm {verb}: {verbs()[verb]}", "", f"usage: ebm {verb} [GROUP=OPTION ...] [KEY=VALUE ...] [FLAG ...]", ""]
    for group in catalogue.chosen(verb, words, where).values():
        lines.append(f"{group.name}={group.default or ''}")
        rows = catalogue.options(group.folder, where).items()
        lines += _columns([(f"{'*' if name == group.default else ' '} {name}", text) for name, text in rows])
        lines.append("")
    lines.append("keys")
    keys = catalogue.keys_of(verb, words, where)
    lines += _columns([(f"{key.name}={'' if key.default == '???' else key.default}", key.meaning) for key in keys])
    lines += [
        "",
        "flags",
        *_columns(
            [
                ("-m", "sweep: key=a,b runs once for each value"),
                ("--cfg job", "print the composed config and stop"),
                ("--info", "print how it was composed and stop"),
                ("--config-dir DIR", "add a folder of your own groups and options"),
                ("--hydra-help", "Hydra's own flags"),
            ]
        ),
    ]
    return "\n".join(lines)


def config_dir(words: Sequence[str]) -> str | None:
    """The folder behind `--config-dir`, as `--config-dir DIR` or `--config-dir=DIR`."""
    for i, word in enumerate(words):
        flag, _, value = word.partition("=")
        if flag in ("--config-dir", "-cd"):
            return value or next(iter(words[i + 1 :]), None)
    return None


def _columns(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Two columns, the second one aligned; a first one that is too wide moves only its own line."""
    width = min(max((len(left) for left, _ in rows), default=0), 30)
    return [f"  {left:<{width}}  {right}".rstrip() for left, right in rows]

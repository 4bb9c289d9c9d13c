"""The reference of verbs, groups and keys, from the comments of the YAML files under `conf/`, as help shows them."""

from collections.abc import Iterable, Iterator

from ebm_cli.cli.help import verb_page, verbs, verbs_page
from ebm_cli.config.groups import Key, conf_dir, file_keys, find_file, group_options, verb_groups

FOLDERS = (conf_dir(),)
VERB = "train"
"""The verb whose groups are described: the others choose from some of the same folders."""
HIDDEN = ("experiment",)
"""Groups whose options set keys of others and have none of their own."""


def commands() -> str:
    """Each verb with its description and keys; for `train`, whose page lists every option, only its first part."""
    parts = [f"```text\n{verbs_page()}\n```"]
    for verb, description in verbs().items():
        if verb != VERB:
            parts.append(f"## ebm {verb}\n\n{description}.\n\n```text\n{verb_page(verb)}\n```")
    return "\n\n".join(parts)


def config() -> str:
    """The keys of `ebm train`, then each group with its options and their keys."""
    path = find_file(VERB, FOLDERS)
    assert path is not None
    parts = ["## Keys of a run", _keys(file_keys(path))]
    folders = dict.fromkeys(group.folder for group in verb_groups(VERB, FOLDERS))
    for folder in folders:
        parts += [f"## {folder}", *_group(folder)]
    return "\n\n".join(parts)


def _group(folder: str) -> Iterator[str]:
    options = group_options(folder, FOLDERS)
    if folder in HIDDEN:
        yield _table(("option", "what it is"), ((f"`{folder}={name}`", text) for name, text in options.items()))
        return
    for name, text in options.items():
        path = find_file(f"{folder}/{name}", FOLDERS)
        assert path is not None
        yield f"### {folder}={name}\n\n{text}."
        keys = file_keys(path, folder)
        if keys:
            yield _keys(keys)


def _keys(keys: Iterable[Key]) -> str:
    return _table(("key", "default", "meaning"), ((f"`{k.name}`", f"`{k.default}`", k.meaning) for k in keys))


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *(tuple(cell.replace("|", "\\|") for cell in row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

"""Help pages as golden files, so that every change of their words is reviewed.

    python -m tests.cli.help_pages    write them again

A page shows descriptions and comments of `conf/`, the choices of an option, and the keys under these choices.
"""

from pathlib import Path

from ebm_cli.cli.help import verb_page, verbs, verbs_page

FOLDER = Path(__file__).parent / "help"
COMMAND = "python -m tests.cli.help_pages"

CHOICES: dict[str, tuple[str, ...]] = {
    "train_pcd": ("train", "method=pcd"),
    "train_fce": ("train", "method=fce"),
    "train_fce_uniform": ("train", "noise=uniform", "method=fce"),
    "train_langevin": ("train", "sampler=langevin"),
    "train_conv_sm": ("train", "dataset=digits", "energy=conv", "method=sm"),
    "train_resnet_sm": ("train", "dataset=digits", "energy=resnet", "method=sm"),
}
"""Name of a page → the words behind `ebm` whose help it is."""


def pages() -> dict[str, str]:
    """Every page by the name of its file: `ebm --help`, `ebm VERB --help`, and some with choices."""
    found = {"ebm": verbs_page()} | {verb: verb_page(verb) for verb in verbs()}
    return found | {name: verb_page(verb, words) for name, (verb, *words) in CHOICES.items()}


def write() -> None:
    """Write the pages, and remove files of pages that no longer exist."""
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.txt"):
        path.unlink()
    for name, text in pages().items():
        (FOLDER / f"{name}.txt").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    write()

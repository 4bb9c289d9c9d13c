"""Help pages: their words are golden files; what they depend on is tested here."""

from pathlib import Path

import pytest

from ebm_cli.cli.help import verb_page, verbs, wrap_page
from ebm_cli.config.groups import group_options, search_path
from tests.cli import help_pages
from tests.support import REPO, Ebm


def test_help_pages_equal_their_golden_files() -> None:
    stored = {path.stem: path.read_text(encoding="utf-8") for path in help_pages.FOLDER.glob("*.txt")}
    pages = {name: f"{text}\n" for name, text in help_pages.pages().items()}
    assert pages == stored, f"a help page has changed: if that is meant, run `{help_pages.COMMAND}` and review the diff"


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_help_without_a_verb_lists_the_verbs(ebm: Ebm, words: tuple[str, ...]) -> None:
    ran = ebm(*words)
    assert (ran.code, ran.out) == (0, (help_pages.FOLDER / "ebm.txt").read_text())


def test_help_of_a_verb_is_its_page(ebm: Ebm) -> None:
    for words in (("train", "--help"), ("train", "-h", "steps=3")):
        assert ebm(*words)[:2] == (0, (help_pages.FOLDER / "train.txt").read_text())


def test_verbs_are_modules() -> None:
    for verb in verbs():
        assert (REPO / "ebm_cli" / "commands" / f"{verb}.py").is_file()


def test_every_option_has_a_description() -> None:
    for group in ("dataset", "energy", "method", "sampler", "noise", "optimizer", "schedule", "experiment"):
        assert [name for name, text in group_options(group, search_path()).items() if not text] == []


@pytest.mark.parametrize(
    ("page", "line"),
    [
        ("train", "noise=gaussian"),
        ("train_fce", "noise=flow"),
        ("train_fce_uniform", "noise=uniform"),
        ("train_conv_sm", "  batch_size=64"),
    ],
)
def test_help_follows_what_options_choose(page: str, line: str) -> None:
    """fce chooses a flow as its noise unless another is typed; conv and sm together choose smaller batches."""
    lines = help_pages.pages()[page].splitlines()
    assert any(found == line or found.startswith(f"{line} ") for found in lines)


def test_help_honours_config_dir(ebm: Ebm, tmp_path: Path) -> None:
    (tmp_path / "mine" / "energy").mkdir(parents=True)
    (tmp_path / "mine" / "energy" / "bowl.yaml").write_text(
        "# A bowl of my own\n_target_: my.Bowl\nrim: 2  # its rim\n"
    )
    out = ebm("train", "--config-dir", "mine", "energy=bowl", "--help").out
    assert "* bowl" in out
    assert "A bowl of my own" in out
    assert "energy.rim=2" in out


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_help_is_wrapped_between_words(width: int) -> None:
    whole = verb_page("train")
    page = wrap_page(whole, width)
    assert page.split() == whole.split()
    assert all(len(line) <= width or len(line.split()) == 1 for line in page.splitlines())

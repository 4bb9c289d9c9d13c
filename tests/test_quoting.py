import random
import subprocess

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from ebm_cli.quoting import override, shell_word, typed

PIECES = [*"ab1./=, ~ä'\"()[]{}$\\!`&;|<>*?#%^:@+-_\n\t", "${", "${x}", "lr=0.1", "true", "1e3"]
FOLDERS = (
    "r/lr=0.1",
    "my run",
    "a,b",
    "r[1]",
    "{x}",
    "~x",
    "größe",
    "it's",
    'a"b',
    "(1)",
    "${hydra.job.num}",
    "12",
    "a\\",
)


def read_by_hydra(word: str) -> object:
    value = OverridesParser.create().parse_override(word).value()
    return OmegaConf.create({"key": value}).key


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("runs/a", "key=runs/a"),
        ("r/lr=0.1", "\"key='r/lr=0.1'\""),
        ("12", "\"key='12'\""),
        ("~x", "\"key='~x'\""),
        (["a b", "c"], "\"key=['a b',c]\""),
        (None, "key=null"),
        (True, "key=true"),
        (1e-5, "key=1e-05"),
        ("$HOME", "'key=\"$HOME\"'"),
    ],
)
def test_an_override_is_quoted_where_it_has_to_be(value: str, expected: str) -> None:
    assert typed("key", value) == expected


def test_hydra_reads_any_text_as_it_was() -> None:
    rng = random.Random(0)
    texts = ["".join(rng.choice(PIECES) for _ in range(rng.randint(1, 8))) for _ in range(300)]
    assert [read_by_hydra(override("key", text)) for text in (*FOLDERS, *texts)] == [*FOLDERS, *texts]


def test_a_shell_reads_any_word_as_it_was() -> None:
    rng = random.Random(1)
    words = ["".join(rng.choice(PIECES) for _ in range(rng.randint(1, 8))) for _ in range(300)]
    lines = [f"printf '%s\\0' {shell_word(word)}" for word in words]
    assert not any("\n" in line for line in lines)
    printed = subprocess.run(["bash", "-c", "\n".join(lines)], capture_output=True, text=True, check=True).stdout
    assert printed.split("\0")[:-1] == words

"""The key that an unknown word means."""

import pytest

from ebm_cli.config.groups import conf_dir, verb_groups, verb_keys
from ebm_cli.config.near_keys import near_keys, suggestion

KEYS = [key.name for key in verb_keys("train", (), (conf_dir(),)) if not key.default.startswith("${")]
GROUPS = [group.package for group in verb_groups("train", (conf_dir(),))]


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("ranks", "parallel.ranks"),
        ("width", "energy.width"),
        ("optim.lr", "optimizer.lr"),
        ("optimiser.lr", "optimizer.lr"),
        ("optimizer.learning_rate", "optimizer.lr"),
        ("Energy.Width", "energy.width"),
        ("STEPS", "steps"),
        ("batchsize", "batch_size"),
        ("eval.every", "eval_every"),
        ("bacth_size", "batch_size"),
        ("widht", "energy.width"),
        ("step", "steps"),
        ("max_steps", "steps"),
        ("n_epochs", "steps"),
        ("chains", "eval.n_chains"),
        ("log", "log_every"),
        ("grad_clip", "clip_grad_norm"),
        ("checkpoint_freq", "checkpoint_every"),
        ("model", "energy"),
    ],
)
def test_near_key_of_a_wrong_word_is_the_one_meant(word: str, key: str) -> None:
    assert near_keys(word, [*KEYS, *GROUPS]) == [key]


@pytest.mark.parametrize(
    "word", ["verbose", "noise_dim", "test_size", "wandb", "noise.flow.layers", "foo.lrr", "n", ""]
)
def test_near_key_is_none_for_an_unrelated_word(word: str) -> None:
    assert near_keys(word, [*KEYS, *GROUPS]) == []


def test_every_key_is_found_by_its_last_part() -> None:
    """Several with the same are all meant, or those that are nested least."""
    for key in KEYS:
        leaf = key.rpartition(".")[2]
        found = near_keys(leaf, KEYS)
        assert leaf in found or all(other.endswith(f".{leaf}") for other in found)
        assert found


def test_every_key_is_found_with_two_letters_exchanged() -> None:
    """The first two, or the last two; but metrisc is nearer to the sampler's metric than to metrics."""
    lost = []
    for key in (key for key in KEYS if len(key) > 4):
        for i in (0, len(key) - 2):
            wrong = key[:i] + key[i + 1] + key[i] + key[i + 2 :]
            if wrong not in KEYS and key not in near_keys(wrong, KEYS):
                lost.append(wrong)
    assert lost == ["metrisc"]


def test_suggestion_lists_keys_in_one_question() -> None:
    assert suggestion([]) == ""
    assert suggestion(["a"]) == "; did you mean a?"
    assert suggestion(["a", "b", "c"]) == "; did you mean a, b or c?"

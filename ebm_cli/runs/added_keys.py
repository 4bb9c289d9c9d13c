"""Keys that were added to training configs, with the values that reproduce what runs did before there were any.

A stored config lacks the keys that were added after its run. They are filled with these values before the config is
hashed or built; they are never filled with newer defaults.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

FILE = "ebm_cli.datasets.File"
"""`_target_` of data from a user's file, whose `path` names it."""

TILTED = "ebm_cli.energies.Tilted"
WITH_METRIC = [f"ebm_cli.samplers.{name}" for name in ("mala.MALA", "hmc.HMC", "underdamped.Underdamped")]

KeyPath = tuple[str | int, ...]
"""Keys, and indices of lists, from the root of a config."""


class AddedKey(NamedTuple):
    """A config key that was added after runs had been stored without it.

    Attributes:
        name: dotted name in a training config; with a `target`, the name of a constructor's parameter.
        value: reproduces what runs without the key did.
        after: last commit or version whose stored configs lack the key.
        target: `_target_` of the nodes that have the key, wherever they are; None for a key of the config itself.
    """

    name: str
    value: Any
    after: str
    target: str | None = None


# Text was read with a decimal point, names above numbers only, and every column trained on.
ADDED_KEYS: tuple[AddedKey, ...] = (
    AddedKey("copies", "apart", after="9fa8354", target=FILE),
    AddedKey("array", None, "f1ab3ba", FILE),
    AddedKey("columns", None, "f1ab3ba", FILE),
    AddedKey("drop", [], "f1ab3ba", FILE),
    AddedKey("label", None, "f1ab3ba", FILE),
    AddedKey("delimiter", None, "f1ab3ba", FILE),
    AddedKey("decimal", "point", "f1ab3ba", FILE),
    AddedKey("thousands", "none", "f1ab3ba", FILE),
    AddedKey("header", "text", "f1ab3ba", FILE),
    AddedKey("missing_class", False, "a4e8a978", FILE),
    AddedKey("strict", False, after="9fa8354"),
    AddedKey("jitter", 0.0, after="9fa8354", target="ebm_cli.samplers.hmc.HMC"),
    AddedKey("init_from", None, after="08d8297"),
    AddedKey("init_weights", "ema", after="08d8297"),
    # The fitted Gaussian with a correction that nothing bounds.
    AddedKey("reference", "gaussian", after="7e16fc5", target=TILTED),
    AddedKey("marginals", "none", after="7e16fc5", target=TILTED),
    AddedKey("bound", None, after="7e16fc5", target=TILTED),
    AddedKey("measurement", None, after="261f01b"),
    *(AddedKey("metric", "none", "65e3076", target) for target in WITH_METRIC),
    *(AddedKey(name, None, "65e3076", WITH_METRIC[-1]) for name in ("energy_error", "test_every")),
    AddedKey("jumps", 0, after="f63c1fb", target="ebm_cli.methods.CD"),
    AddedKey("weights", "none", after="65e3076", target="ebm_cli.methods.CD"),
    AddedKey("witnesses", 0, after="65e3076", target="ebm_cli.methods.CD"),
    AddedKey("train_means", False, after="65e3076", target="ebm_cli.energies.Mixture"),
    AddedKey("objective", "logistic", after="421cd4e", target="ebm_cli.methods.NCE"),
    AddedKey("estimator", "exact", after="421cd4e", target="ebm_cli.methods.SSM"),
    AddedKey("eps", 0.1, after="421cd4e", target="ebm_cli.methods.SSM"),
    AddedKey("calibrate", False, after="421cd4e", target=TILTED),
    AddedKey("parallel", {"ranks": 1}, after="bb0dc35"),
    AddedKey("eval.fallback", "none", after="bb0dc35"),
    AddedKey("target_accept", 0.8, after="412d032", target="ebm_cli.samplers.nuts.NUTS"),
    AddedKey("target_accept", 0.651, after="a4e8a97", target="ebm_cli.samplers.hmc.HMC"),
)
"""Every key that training configs have got since commit 1b2473a, in the order in which they were added."""


def missing_keys(config: Mapping[str, Any]) -> dict[KeyPath, Any]:
    """The added keys that a plain stored config lacks, with the values that reproduce what its run did."""
    nodes = list(mappings(config))
    found: dict[KeyPath, Any] = {}
    for key in ADDED_KEYS:
        *parents, name = key.name.split(".")
        for path, node in nodes:
            is_its_node = path == tuple(parents) if key.target is None else node.get("_target_") == key.target
            if is_its_node and name not in node:
                found[(*path, name)] = key.value
    return found


def fill(config: Mapping[str, Any]) -> dict[str, Any]:
    """Complete a plain stored config by its missing keys."""
    filled = copy.deepcopy(dict(config))
    for (*parents, name), value in missing_keys(config).items():
        at(filled, parents)[name] = copy.deepcopy(value)
    return filled


def mappings(node: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Mapping[str, Any]]]:
    """Every mapping in a plain config."""
    if isinstance(node, Mapping):
        yield path, node
    entries = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    for key, value in entries:
        yield from mappings(value, (*path, key))


def at(config: Any, path: Sequence[str | int]) -> Any:
    """The node of a plain config that a path leads to."""
    for key in path:
        config = config[key]
    return config

"""A plain config as dotted keys."""

from ebm_cli.config.flat import flatten


def test_flatten_names_inner_keys() -> None:
    assert dict(flatten({"a": {"b": 1, "c": {}}, "d": 2})) == {"a.b": 1, "a.c": {}, "d": 2}

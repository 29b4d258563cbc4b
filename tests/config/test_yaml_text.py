"""YAML in which a key occurs twice."""

import pytest
import yaml

from adakd.config.yaml_text import parsed


@pytest.mark.parametrize(
    ("text", "key", "first", "line"),
    [
        ("seeds: [1]\na: 2\nseeds: [5]\n", "seeds", 1, 3),
        ("a:\n  b: 1\n  c: 2\n  b: 1\n", "b", 2, 4),
        ("a:\n  - {b: 1, c: 3}\n  - {b: 1,\n     b: 2}\n", "b", 3, 4),
        ("a: 1\n'a': 2\n", "a", 1, 2),
        ("1: a\n0x1: b\n", "0x1", 1, 2),
        ("true: a\nyes: b\n", "yes", 1, 2),
        ("a: &x {b: 1}\nc:\n  <<: *x\n  d: 1\n  d: 1\n", "d", 4, 5),
    ],
)
def test_a_key_that_occurs_twice_is_an_error(text: str, key: str, first: int, line: int) -> None:
    with pytest.raises(yaml.YAMLError) as caught:
        parsed(text)
    said = " ".join(str(caught.value).split())
    assert f"key {key!r} occurs twice, first in line {first}: remove one" in said
    assert f"line {line}, column" in said


def test_the_same_key_in_different_mappings_is_none() -> None:
    text = "a: {b: 1}\nc: {b: 1}\nd: &x {b: 1}\ne: {<<: *x, b: 2}\n'1': x\n1: y\n"
    assert parsed(text) == yaml.safe_load(text)

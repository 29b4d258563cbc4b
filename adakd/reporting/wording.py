"""Words that several sections share; other sentences are beside the section that they belong to."""

from collections.abc import Sequence

import yaml

from adakd.planning import PLAIN

MODES = {
    "decision": "reads label probabilities",
    "json_schema+logprobs": "reads a verdict in JSON with label probabilities",
    "json_object+logprobs": "reads a verdict in JSON with label probabilities",
    "json_schema": "reads a verdict in JSON",
    "json_object": "reads a verdict in JSON",
    "text": "reads the last verdict in a text",
    "rule": "compares by a rule, without a model",
    "unknown": "the mode of its requests is not recorded",
}
"""A judge's modes in words."""


def arm_name(arm: str) -> str:
    """Return the name of an arm in a sentence."""
    return {PLAIN: "plain", "adakd": "AdaKD"}.get(arm, arm)


def listed(names: Sequence[str]) -> str:
    """Return ``a``, ``a and b`` or ``a, b and c``."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def as_yaml(value: object) -> str:
    """Return settings as the YAML that they could be read from."""
    written = yaml.dump(value, Dumper=_WithoutAliases, sort_keys=False, allow_unicode=True)
    return str(written)


class _WithoutAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True

"""YAML as suite and judge files are written in it: a key that occurs twice is an error."""

from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, ScalarNode


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which would silently take the last of two equal keys."""

    def compose_mapping_node(self, anchor: Any) -> MappingNode:
        """Compose a mapping.

        Raises:
            ConstructorError: a key occurs twice.
        """
        node: MappingNode = super().compose_mapping_node(anchor)
        first: dict[tuple[str, Any], int] = {}
        for key, _ in node.value:
            if not isinstance(key, ScalarNode):
                continue
            same = (key.tag, self._value(key))
            if same in first:
                problem = f"key {key.value!r} occurs twice, first in line {first[same]}: remove one"
                raise ConstructorError(None, None, problem, key.start_mark)
            first[same] = key.start_mark.line + 1
        return node

    def _value(self, key: ScalarNode) -> Any:
        """Return the value of a key, so that ``1`` and ``0x1`` are one; of any other its text."""
        if key.tag.rpartition(":")[2] in ("int", "float", "bool", "null"):
            return self.construct_object(key)
        return key.value


def parsed(text: str) -> Any:
    """Parse YAML without tags that make objects.

    Raises:
        yaml.YAMLError: it is not YAML, or a key occurs twice.
    """
    return yaml.load(text, Loader=_Loader)

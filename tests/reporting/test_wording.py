"""Words that several sections share."""

import yaml

from adakd.reporting.wording import arm_name, as_yaml, listed


def test_names_are_listed_as_in_a_sentence():
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert [arm_name(arm) for arm in ("plain", "adakd", "egad")] == ["plain", "AdaKD", "egad"]


def test_settings_are_written_so_that_they_can_be_read_again():
    shared = ["ü", 1.5]
    settings = {"first": shared, "second": shared}
    assert yaml.safe_load(as_yaml(settings)) == settings
    assert "&" not in as_yaml(settings)

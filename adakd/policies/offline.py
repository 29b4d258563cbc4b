"""The data set as it is."""

from adakd.policies.parts import Policy, policy


@policy("offline")
class Offline(Policy):
    """The data set's own responses."""

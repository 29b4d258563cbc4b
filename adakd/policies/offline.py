"""Train on the data set unchanged."""

from adakd.policies.base import Policy, policy


@policy("offline")
class Offline(Policy):
    """The data set's own responses."""

"""Trainings: what was done, and what failed."""

from adakd.reporting.sections.trainings import trainings


def test_trainings_count_failed_seeds_by_themselves(mini):
    found = {str(one.method): one for one in trainings(mini).rows}
    assert "teacher" not in found
    one = found["forward_kl + adakd"]
    assert (one.done, one.failed, one.steps, one.left_out) == (2, 1, 60, 3)

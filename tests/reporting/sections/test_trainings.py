"""Trainings: what was done, and what failed."""

from adakd.reporting.sections.trainings import trainings


def test_trainings_count_failed_seeds_by_themselves(mini):
    found = {str(one.method): one for one in trainings(mini).rows}
    assert "teacher" not in found
    one = found["forward_kl + adakd"]
    assert (one.done, one.failed, one.steps, one.left_out) == (2, 1, 60, 3)


def test_a_model_that_no_step_trained_has_no_row(stored):
    untrained = [t for (m, _), t in stored.index.trainings.items() if m.role == "untrained"]
    assert all(not record.steps for record in untrained)
    assert "untrained" not in {str(one.method) for one in trainings(stored).rows}

"""Trainings: what was done, and what failed."""

from types import SimpleNamespace

from adakd.reporting.sections.trainings import trainings
from adakd.store.records import BridgeUse


def test_trainings_count_failed_seeds_by_themselves(mini):
    found = {str(one.method): one for one in trainings(mini).rows}
    assert "teacher" not in found
    one = found["forward_kl + adakd"]
    assert (one.done, one.failed, one.steps, one.left_out) == (2, 1, 60, 3)


def test_a_model_that_no_step_trained_has_no_row(stored):
    untrained = [t for (m, _), t in stored.index.trainings.items() if m.role == "untrained"]
    assert all(not record.steps for record in untrained)
    assert "untrained" not in {str(one.method) for one in trainings(stored).rows}


def test_compared_masses_are_means_over_seeds(mini):
    """The student's first weights decide them, and each seed measures other sequences."""
    method = next(m for m, _ in mini.index.trainings if str(m) == "forward_kl")
    seeds = [seed for m, seed in mini.index.trainings if m == method][:2]
    counts = dict.fromkeys(("units", "tokens", "aligned", "teacher_tokens", "teacher_aligned"), 9)
    records = {
        (method, seed): mini.index.trainings[method, seed].model_copy(
            update={"bridge": BridgeUse(sequences=3, **counts, mass=mass, teacher_mass=None)}
        )
        for seed, mass in zip(seeds, (0.25, 0.75), strict=True)
    }
    index = SimpleNamespace(trainings=records, all_seeds=seeds, methods=[method])
    ((_, use),) = trainings(SimpleNamespace(index=index)).bridged
    assert (use.mass, use.teacher_mass, use.units_per_sequence) == (0.5, None, 3)

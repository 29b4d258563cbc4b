"""Data policies in isolation: their draws, examples and state."""

import json
import subprocess
import sys
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from adakd.data.example import Example
from adakd.policies import OnPolicy, Policy, Replay, policy
from adakd.policies.base import Examples, PolicyContext
from adakd.registry import Spec

ROWS = [Example(number, [1, 2, number], [-100, -100, number]) for number in range(3)]


class Chance(Random):
    """Random numbers with a known first one."""

    getrandbits = Random.getrandbits  # or `sample` would take what `random` returns

    def __init__(self, first: float) -> None:
        super().__init__(0)
        self.first: float | None = first

    def random(self) -> float:
        known, self.first = self.first, None
        return super().random() if known is None else known


class Student:
    """Counts its calls; each response contains the count."""

    def __init__(self, losses: Sequence[float] = ()) -> None:
        self.losses, self.written = list(losses), 0

    def context(
        self, u: float = 0.0, step: int = 0, steps: int = 10, micro: int = 0
    ) -> PolicyContext:
        return PolicyContext(
            step=step,
            steps=steps,
            micro_batch=micro,
            rng=Chance(u),
            generate=self.write,
            validate=lambda: self.losses.pop(0),
        )

    def write(self, rows: Examples, _: Any) -> list[Example]:
        self.written += 1
        return [row.with_response([100 + self.written], -1 - row.number) for row in rows]


def texts(rows: Examples) -> set[int]:
    return {row.input_ids[-1] for row in rows}


def test_every_registered_policy_serves_with_its_defaults() -> None:
    for name in policy:
        made: Policy = policy.build(Spec(name=name))
        assert isinstance(made, Policy)
        assert made.load_state_dict(json.loads(json.dumps(made.state_dict()))) is None
        assert policy.build(Spec(name=name)) is not made


def test_the_package_needs_no_torch() -> None:
    code = "import sys, adakd.policies; print({'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_only_what_may_be_made_in_training_needs_a_live_teacher() -> None:
    fresh = {name: policy.build(Spec(name=name)).fresh for name in policy}
    assert fresh == {"offline": False, "on_policy": True, "replay": True, "sequence_level": False}
    assert not OnPolicy(lmbda=0).fresh
    assert not Replay(held_out=0).fresh
    assert Replay(held_out=0, threshold=0.1).fresh


@pytest.mark.parametrize(("u", "fresh"), [(0.0, True), (0.29, True), (0.3, False), (0.99, False)])
def test_on_policy_is_by_chance(u: float, fresh: bool) -> None:
    student = Student()
    taken = OnPolicy(lmbda=0.3)(ROWS, student.context(u))
    assert (taken is not ROWS) == fresh == bool(student.written)


# --- replay -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rise_since", "expected"),
    [
        ("previous", [0, 0.1, 0.1, 0.1, 0.2, 0.2, 0.2, 0.3]),
        ("rise", [0, 0.1, 0.1, 0.1, 0.1, 0.2, 0.2, 0.2]),
    ],
)
def test_the_threshold_grows_where_the_loss_rose(rise_since: Any, expected: list[float]) -> None:
    """Worked: 2.0 first; +0.2 rises; +0.05, -0.5 do not; +0.4 does, but not above 2.2 + 0.1."""
    replay = Replay(rise_since=rise_since)
    seen = []
    for loss in (2.0, 2.2, 2.25, 1.75, 2.15, 2.4 if rise_since == "rise" else 2.2, 2.0, 2.35):
        replay.observe(loss)
        seen.append(replay.threshold)
    assert seen == expected


def test_a_slow_rise_counts_by_default_as_in_the_reference_implementation() -> None:
    """0.06 a validation: two of them are a rise since the last one, though neither is alone."""
    replay, other = Replay(), Replay(rise_since="previous")
    for number in range(19):
        for each in (replay, other):
            each.observe(2 + 0.06 * number)
    assert (replay.threshold, other.threshold) == (0.9, 0)


def test_a_rise_of_eps_is_one_and_one_is_the_most() -> None:
    replay = Replay(eps=0.25)
    for loss in (1.0, 1.25, 1.5):  # exact in binary
        replay.observe(loss)
    assert replay.threshold == 0.2
    for loss in range(2, 15):
        replay.observe(float(loss))
    assert replay.threshold == 1


def test_validations_come_at_their_share_of_the_steps() -> None:
    student, replay = Student([9.0] * 20), Replay(validate_every=0.25)
    left = []
    for step in range(12):
        for micro in range(2):
            replay(ROWS, student.context(1.0, step, 12, micro))
            left.append(20 - len(student.losses))
    assert left[::2] == left[1::2] == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]


def test_where_a_batch_comes_from() -> None:
    """Worked at phi = 0.5, T = 10, a buffer of 6: the share phi (1 - t/T) ends new answers."""
    student, replay = Student(), Replay(threshold=0.5, capacity=6, held_out=0)
    cases = [
        # u, step, what is written so far, whether the data set's
        (0.50, 0, 0, True),  # not below phi
        (0.44, 0, 1, False),  # below the share 0.45 of the first step
        (0.49, 4, 2, False),  # above the share 0.25, but 3 of 6 places are free
        (0.49, 4, 2, False),  # full: from the buffer
        (0.24, 4, 3, False),  # below the share 0.25: new again
        (0.25, 4, 3, False),  # not below it
        (0.00, 8, 4, False),
        (0.06, 8, 4, False),  # the share is 0.05
        (0.00, 9, 4, False),  # the last step has none left
        (0.50, 9, 4, True),
    ]
    for u, step, written, given in cases:
        taken = replay(ROWS, student.context(u, step))
        assert (student.written, taken is ROWS) == (written, given), (u, step)
        assert given or len(taken) == 3
        assert given or texts(taken) <= {101, 102, 103, 104}
    assert texts(list(replay.buffer)) == {103, 104}  # the oldest have left
    assert len(replay.buffer) == 6


def test_the_buffer_is_sampled_by_chance_without_repeats() -> None:
    student, replay = Student(), Replay(threshold=1, capacity=6, held_out=0)
    for _ in range(2):
        replay(ROWS, student.context())
    draws = set()
    for seed in range(40):
        context = student.context(0.99, step=9)
        context.rng.seed(seed)
        taken = replay(ROWS, context)
        assert len({(row.number, row.input_ids[-1]) for row in taken}) == 3
        draws.add(tuple((row.number, row.input_ids[-1]) for row in taken))
    assert len(draws) > 20
    assert student.written == 2


def test_its_state_goes_through_json() -> None:
    student, replay = Student([1.0, 2.0]), Replay(threshold=0.3, capacity=4, validate_every=0.1)
    for step in range(2):
        replay(ROWS, student.context(0.1, step))
    later = Replay(threshold=0.3, capacity=4, validate_every=0.1)
    later.load_state_dict(json.loads(json.dumps(replay.state_dict())))
    assert later.state_dict() == replay.state_dict()
    assert (later.threshold, later.reference) == (0.4, 2.0)
    assert list(later.buffer) == list(replay.buffer)
    assert later.buffer.maxlen == 4


def test_what_replay_validates_on_and_when_is_marked_as_ours() -> None:
    assert policy.ours("replay") == ("validate_every", "held_out")

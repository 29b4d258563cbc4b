"""The prompts of a step: answered together, each micro-batch with its own."""

from adakd.data.example import Example
from adakd.policies import Decoding, Examples
from adakd.training.step_responses import StepResponses

GREEDY, SAMPLED = Decoding(temperature=0), Decoding()


def rows(*numbers: int) -> list[Example]:
    return [Example(number, [1, number], [-100, number]) for number in numbers]


class Writer:
    """Writes the number of a row and remembers what it was asked together."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[int], Decoding]] = []

    def __call__(self, given: Examples, decoding: Decoding) -> list[Example]:
        self.asked.append(([row.number for row in given], decoding))
        return [row.with_response([50 + row.number], -1 - row.number) for row in given]


def test_a_steps_prompts_are_answered_in_one_go() -> None:
    write = Writer()
    step = StepResponses(write)
    first, second = step(rows(3, 1), SAMPLED), step(rows(2), SAMPLED)
    assert (len(first), len(second), write.asked) == (2, 1, [])
    step.settle()
    assert [row.number for row in [*first, *second]] == [-4, -2, -3]
    assert [row.input_ids[-1] for row in (first[0], first[1], second[0])] == [53, 51, 52]
    step.settle()
    assert write.asked == [([3, 1, 2], SAMPLED)]


def test_who_looks_gets_them_at_once_and_those_asked_later_come_later() -> None:
    write = Writer()
    step = StepResponses(write)
    first, other = step(rows(3), SAMPLED), step(rows(4, 5), GREEDY)
    assert first[0].input_ids[-1] == 53
    later = step(rows(6), SAMPLED)
    assert [row.number for row in other[1:]] == [-6]
    assert write.asked == [([3], SAMPLED), ([4, 5], GREEDY)]
    step.settle()
    assert [row.number for row in later] == [-7]

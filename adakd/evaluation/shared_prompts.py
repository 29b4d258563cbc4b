"""Which requests of a task share a prompt, as the options of a multiple-choice question do."""

from collections.abc import Iterator, Sequence

from adakd.models.continuations import alike

Pair = tuple[tuple[int, ...], tuple[int, ...]]
"""The token ids of a prompt and of its continuation."""


def groups(pairs: Sequence[Pair], limit: int) -> tuple[list[list[int]], list[int]]:
    """Return the numbers of the pairs that share their prompt, and of those that do not.

    Args:
        pairs: prompts with their continuations.
        limit: tokens that a model reads. A pair with more is cut at its start, so it shares none.

    Returns:
        The groups, those with the most tokens first, and the other pairs.
    """
    by_prompt: dict[tuple[int, ...], list[int]] = {}
    alone = []
    for number, (context, continuation) in enumerate(pairs):
        if len(context) + len(continuation) - 1 > limit:
            alone.append(number)
        else:
            by_prompt.setdefault(context, []).append(number)
    alone += [same[0] for same in by_prompt.values() if len(same) == 1]
    found = [same for same in by_prompt.values() if len(same) > 1]
    found.sort(key=lambda same: len(pairs[same[0]][0]), reverse=True)
    return found, alone


def batches_of_prompts(
    found: Sequence[Sequence[int]], pairs: Sequence[Pair], size: int
) -> Iterator[list[int]]:
    """Yield the pairs of groups, at most `size` at a time, with prompts of about one length.

    A group is parted if it has more.
    """
    for even in alike([len(pairs[same[0]][0]) for same in found]):
        yield from _batches(found[even], size)


def _batches(found: Sequence[Sequence[int]], size: int) -> Iterator[list[int]]:
    batch: list[int] = []
    for same in found:
        for start in range(0, len(same), size):
            part = [*same[start : start + size]]
            if len(batch) + len(part) > size:
                yield batch
                batch = []
            batch += part
    if batch:
        yield batch


def batches_alone(alone: Sequence[int], pairs: Sequence[Pair], size: int) -> Iterator[list[int]]:
    """Yield pairs that are read whole, at most `size` at a time, those with most tokens first."""
    tokens = {number: sum(map(len, pairs[number])) for number in alone}
    longest_first = sorted(alone, key=tokens.__getitem__, reverse=True)
    for even in alike([tokens[number] for number in longest_first]):
        one = longest_first[even]
        yield from (one[start : start + size] for start in range(0, len(one), size))


def probe(found: Sequence[Sequence[int]]) -> list[int]:
    """Return two pairs of the longest and of the shortest prompt, to try the sharing with."""
    ends = [found[0], found[-1]] if len(found) > 1 else [found[0]]
    return [number for same in ends for number in same[:2]]

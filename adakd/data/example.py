"""Training sequences as token ids and labels, without torch."""

from dataclasses import dataclass

IGNORED = -100
"""Label of ignored positions: prompt and padding."""


@dataclass(frozen=True)
class Example:
    """One training sequence."""

    number: int
    """Index among all training sequences; ``-1 - index`` of the prompt's sequence for one generated
    during the training."""
    input_ids: list[int]
    labels: list[int]
    """Aligned with `input_ids`, not shifted; -100 in the prompt."""

    @property
    def valid_tokens(self) -> int:
        """Number of valid tokens; the first position is never predicted."""
        return sum(label != IGNORED for label in self.labels[1:])

    @property
    def prompt(self) -> list[int]:
        """The token ids before the response."""
        return self.input_ids[: self.labels.count(IGNORED)]

    def with_response(self, response: list[int], number: int) -> "Example":
        """Return an example with the same prompt and another response."""
        prompt = self.prompt
        return Example(number, prompt + response, [IGNORED] * len(prompt) + response)

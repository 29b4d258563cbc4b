"""One training sequence, as token ids and labels. Needs no torch."""

from dataclasses import dataclass

IGNORED = -100
"""Label of a position that does not count: prompt and padding."""


@dataclass(frozen=True)
class Example:
    """One training sequence."""

    number: int
    """Its place among all training sequences. Of one made during the training: ``-1 - number`` of
    the row whose prompt it has."""
    input_ids: list[int]
    labels: list[int]
    """Unshifted; -100 in the prompt."""

    @property
    def valid_tokens(self) -> int:
        """Labels that count: what comes before the first token is nobody's to predict."""
        return sum(label != IGNORED for label in self.labels[1:])

    @property
    def prompt(self) -> list[int]:
        """The tokens in front of the response."""
        return self.input_ids[: self.labels.count(IGNORED)]

    def with_response(self, response: list[int], number: int) -> "Example":
        """Return the same prompt with another response."""
        prompt = self.prompt
        return Example(number, prompt + response, [IGNORED] * len(prompt) + response)

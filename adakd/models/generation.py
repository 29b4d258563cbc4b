"""Generation of responses to the prompts of training sequences."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from adakd.data.example import Example
from adakd.models.casting import computing_in
from adakd.models.decoding import Decoder, Ends, Request
from adakd.policies import Decoding


@dataclass(frozen=True)
class ResponseGenerator:
    """Generates responses as answers are decoded to be scored: by one of the engines.

    The random stream of a row is named by the occasion and the row's number.
    """

    ends: Ends
    """The tokens that end and pad a response."""
    max_tokens: int
    """Limit on prompt and response together."""
    decoder: Decoder
    """The engine that decodes."""
    size: int
    """The most responses that are generated at a time."""
    precision: torch.dtype = torch.float32
    """Precision of the weights, of which the model gets copies for the while."""

    def __call__(
        self, model: Any, rows: Sequence[Example], decoding: Decoding, occasion: str
    ) -> list[Example]:
        """Return the prompts of `rows`, each with the model's response including its end token.

        Args:
            model: a causal language model, with adapters or without.
            rows: sequences whose prompts are answered, in batches that they alone decide.
            decoding: temperature, truncation and length.
            occasion: seeds the random numbers, together with the number of each row.

        Raises:
            AdakdError: the engine cannot decode this model.
        """
        requests = [self._request(row, decoding, occasion) for row in rows]
        with computing_in(model, self.precision):
            responses = self.decoder(model, requests, decoding, self.ends, self.size)
        return [
            row.with_response(response, number=min(row.number, -1 - row.number))
            for row, response in zip(rows, responses, strict=True)
        ]

    def _request(self, row: Example, decoding: Decoding, occasion: str) -> Request:
        left = self.max_tokens - len(row.prompt)
        limit = min(left, decoding.max_new_tokens or left)
        return Request(row.prompt, limit, f"{occasion}, row {row.number}")

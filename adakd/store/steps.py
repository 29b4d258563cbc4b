"""The steps of a training as columns: a list for each number, instead of an object for each step.

A training of thousands of steps takes half the file and a tenth of the memory that way.
"""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import Field, PlainSerializer, PlainValidator, model_validator

from adakd.config import Config

Phase = Literal["generation", "teacher", "selection", "student", "loss", "backward", "optimizer"]
"""The parts of a training step: teacher forward, student forward, loss, backward, optimizer.
``selection`` is the first pass over a step whose tokens are selected over all its micro-batches.
``generation`` comes first, in steps whose data policy has the student write or be validated."""


class Step(Config):
    """One optimizer step of a training."""

    step: int
    loss: float
    learning_rate: float
    grad_norm: float
    kept_ratio: float
    """Share of the response tokens that were selected for the loss."""
    temperature: float
    """Mean over the selected tokens."""
    seconds: dict[Phase, float]


if TYPE_CHECKING:
    Doubles = array[float]
else:
    Doubles = array  # takes no parameters before Python 3.12


def _numbers(value: Any) -> Doubles:
    try:
        return array("d", map(float, value))
    except TypeError as error:
        raise ValueError(str(error)) from None


Numbers = Annotated[
    Doubles,
    PlainValidator(_numbers, json_schema_input_type=list[float]),
    PlainSerializer(lambda value: value.tolist(), return_type=list[float]),
]
"""A column of numbers; infinity and NaN are text in JSON."""


class Steps(Config):
    """The steps of a training: a sequence of :class:`Step`, stored as columns of one length.

    Made of columns, or of a sequence of steps, which is also the form of schema 2.
    """

    step: Numbers = array("d")
    loss: Numbers = array("d")
    learning_rate: Numbers = array("d")
    grad_norm: Numbers = array("d")
    kept_ratio: Numbers = array("d")
    temperature: Numbers = array("d")
    seconds: dict[Phase, Numbers] = Field(default={})
    """NaN in a step without the phase."""

    @model_validator(mode="before")
    @classmethod
    def _in_columns(cls, value: Any) -> Any:
        """Turn steps into columns."""
        if isinstance(value, str | Mapping | Steps) or not isinstance(value, Sequence):
            return value
        steps = [one if isinstance(one, Step) else Step.model_validate(one) for one in value]
        phases = [phase for phase in get_args(Phase) if any(phase in s.seconds for s in steps)]
        seconds = {
            phase: [step.seconds.get(phase, float("nan")) for step in steps] for phase in phases
        }
        columns = {name: [getattr(step, name) for step in steps] for name in _COLUMNS}
        return {**columns, "seconds": seconds}

    @model_validator(mode="after")
    def _of_one_length(self) -> "Steps":
        columns = [getattr(self, name) for name in _COLUMNS]
        if len({*map(len, columns), *map(len, self.seconds.values())}) > 1:
            raise ValueError("the columns of the steps differ in length")
        return self

    def __len__(self) -> int:
        """Return the number of steps."""
        return len(self.step)

    def __getitem__(self, place: int) -> Step:
        """Return a step by its place, from the end if negative."""
        values = {name: getattr(self, name)[place] for name in _COLUMNS[1:]}
        seconds = {phase: of[place] for phase, of in self.seconds.items()}
        known = {phase: value for phase, value in seconds.items() if value == value}
        return Step(step=int(self.step[place]), seconds=known, **values)

    def __iter__(self) -> Iterator[Step]:  # type: ignore[override]  # the steps, not the fields
        """Yield the steps."""
        return (self[place] for place in range(len(self)))


_COLUMNS = tuple(name for name in Steps.model_fields if name != "seconds")

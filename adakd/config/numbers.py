"""Bounded number types for the settings of suites and components."""

from typing import Annotated

from pydantic import Field

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
"""From 0 to 1."""
Fraction = Annotated[float, Field(gt=0, le=1)]
"""A share above 0."""

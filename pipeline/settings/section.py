"""The base class of all groups of settings."""

from __future__ import annotations

import os
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from pipeline.safe_uri import path_text, refuse_address

Seconds = Annotated[float, Field(ge=0.0)]

LocalPath = Annotated[str, BeforeValidator(path_text), AfterValidator(refuse_address)]
"""The path of a file or folder; no address, since settings are printed with their paths."""

VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""Name of an environment variable that holds a secret, for a setting that ends in _env."""


class Section(BaseModel):
    """A group of settings: frozen, without unknown keys, NaN and infinity. Errors hide values, which may be secrets."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        coerce_numbers_to_str=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )


def with_variables(values: Any, key: str) -> Any:
    """The values of a section, with `key` read from the environment variable that `key`_env names, if it names one.

    Raises:
        PydanticCustomError: the variable is not set.
    """
    name = values.get(f"{key}_env") if isinstance(values, dict) else None
    if not isinstance(name, str) or not name.isidentifier():
        return values
    if not os.environ.get(name):
        raise PydanticCustomError(
            "missing_variable",
            "the environment variable {name} is not set",
            {"key": key, "name": name},
        )
    return values | {key: os.environ[name]}

"""What every section of the topology file's grammar is."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from lab.topology.values import UNWRITTEN


class Section(BaseModel):
    """A mapping of the file: unknown keys refused, no value turned into another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    NOT_EMULATED: ClassVar[frozenset[str]] = frozenset()
    DISTRIBUTED_ONLY: ClassVar[frozenset[str]] = frozenset()

    @field_validator("*", mode="before")
    @classmethod
    def _written(cls, value: Any, info: ValidationInfo) -> Any:
        field = cls.model_fields.get(info.field_name or "")
        if value is None and field is not None and field.default is None:
            raise ValueError(UNWRITTEN)
        return value

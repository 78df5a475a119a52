"""What tokens cost: a table that ships with the package, and the user's own before it."""

import importlib.resources
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from awm_generator import errors
from awm_generator.model import language

_DATE = re.compile(r"-\d{4}-\d{2}-\d{2}$")
_MILLION = 1_000_000


class Price(pydantic.BaseModel):
    """US dollars for a million tokens."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    input: float = pydantic.Field(ge=0)
    output: float = pydantic.Field(ge=0)


@dataclass(frozen=True)
class Prices:
    """Prices by model."""

    models: Mapping[str, Price]

    def cost(self, model: str, usage: language.Usage) -> float | None:
        """What a reply cost, in US dollars; None where the model's price is not known."""
        price = self.models.get(model) or self.models.get(_DATE.sub("", model))
        if price is None:
            return None
        return (usage.input_tokens * price.input + usage.output_tokens * price.output) / _MILLION

    def knows(self, model: str) -> bool:
        """Whether the model's price is known."""
        return self.cost(model, language.Usage()) is not None


def load(own: Path | None = None) -> Prices:
    """The prices that ship with the package, with those of the file `own` in their place.

    Raises:
        GenerationError: the file cannot be read, or an entry is malformed; the message names it.
    """
    shipped = importlib.resources.files(__package__).joinpath("prices.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(shipped)
    if own is not None:
        tables |= _read(own)
    return Prices({name: _price(name, value, own) for name, value in tables.items()})


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise errors.GenerationError(f"{path}: cannot be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise errors.GenerationError(f"{path}: no TOML: {exc}") from exc


def _price(name: str, value: object, path: Path | None) -> Price:
    try:
        return Price.model_validate(value)
    except pydantic.ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        where = ".".join(map(str, (name, *first["loc"])))
        raise errors.GenerationError(f"{path}: {where}: {first['msg']}") from exc

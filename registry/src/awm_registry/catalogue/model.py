"""The catalogue as files: `index.json`, and beside it what is said about each scenario.

```text
index.json                    format, and a row per scenario and generation
metadata/<bundle>.json        what is said about the bundle with this digest (the hexadecimal part)
tools/<tools_hash>.json       a tool list; the file's SHA-256 is its name
```

All but the index never change once they are written: they are made from a bundle alone, and named by digests. So an
index may be replaced at any moment, and several may share a folder. Readers ignore fields that they do not know.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from awm_runtime import names
from awm_runtime.bundle import model as bundles

FORMAT: Literal["awm-catalogue/1"] = "awm-catalogue/1"
METADATA_FORMAT: Literal["awm-metadata/1"] = "awm-metadata/1"
INDEX = "index.json"

Digest = Annotated[str, pydantic.Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class _Frozen(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True)


class Entry(_Frozen):
    """A row of the index: one scenario at one generation."""

    name: str = pydantic.Field(min_length=1, max_length=200, description="The scenario's normalised name.")
    generation: int = pydantic.Field(ge=1)
    tier: bundles.Tier | None = pydantic.Field(None, description="What its gates allow; null: not gated yet.")
    image: str | None = pydantic.Field(
        None,
        pattern=r"^[^\s@]+@sha256:[0-9a-f]{64}$",
        description="The image, by digest; for backends that run images.",
    )
    folder: str | None = pydantic.Field(None, description="The bundle's folder; for backends that run folders.")
    bundle: Digest = pydantic.Field(description="The bundle's digest.")
    tools_hash: Digest = pydantic.Field(description="The hash of the tool list as served.")
    published_at: pydantic.AwareDatetime | None = pydantic.Field(
        None, description="When this bundle first stood in the index; null: not known."
    )

    @pydantic.field_validator("name")
    @classmethod
    def _is_normalised(cls, value: str) -> str:
        if names.normalise(value) != value:
            raise ValueError(f"not a scenario name: write {names.normalise(value)!r}")
        return value


class Index(_Frozen):
    """`index.json`. Without tool lists and task texts it fits into a ConfigMap: 1,000 rows take about 300 KB."""

    format: Literal["awm-catalogue/1"] = FORMAT
    entries: tuple[Entry, ...]


class Task(_Frozen):
    """A task as anybody may know it: no oracle, no answer, no verifier."""

    id: str
    instruction: str
    split: Literal["train", "test"]
    difficulty: str | None = None


class Metadata(_Frozen):
    """`metadata/<bundle>.json`."""

    format: Literal["awm-metadata/1"] = METADATA_FORMAT
    name: str
    generation: int = pydantic.Field(ge=1)
    bundle: Digest
    title: str
    description: str = ""
    tags: tuple[str, ...] = ()
    clock: bundles.Moment = pydantic.Field(description="The frozen clock that episodes start at.")
    user: bundles.User = bundles.User()
    counts: bundles.Counts | None = None
    tasks: tuple[Task, ...] = ()


Tool = dict[str, Any]


def metadata_path(folder: Path, bundle: str) -> Path:
    """Where the metadata of the bundle with this digest is."""
    return folder / "metadata" / f"{bundle.removeprefix('sha256:')}.json"


def tools_path(folder: Path, tools_hash: str) -> Path:
    """Where the tool list with this hash is."""
    return folder / "tools" / f"{tools_hash.removeprefix('sha256:')}.json"

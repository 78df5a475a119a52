"""Where the models are: read from environment variables and a `.env` file, once at start."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import dotenv

from awm_generator import errors

Provider = Literal["openai", "azure", "builtin"]

PROVIDERS: tuple[Provider, ...] = ("openai", "azure", "builtin")
DEFAULT_MODEL = "gpt-5"
DEFAULT_EMBEDDING_MODEL = "text-embedding-3-large"
LOCAL_EMBEDDINGS = "local"
"""The embedding model's name that stands for the method that needs no endpoint."""

AZURE_API_VERSION = "2024-10-21"
"""The newest version of Azure's API that is no preview; it has structured output."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One endpoint.

    Attributes:
        azure: Whether it speaks Azure's dialect: deployments in the path, `api-key`, `api-version`.
        key: The secret; never shown.
        url: Its base URL; None for OpenAI's own.
        api_version: Azure's.
    """

    azure: bool = False
    key: str = field(repr=False)
    url: str | None = None
    api_version: str = AZURE_API_VERSION


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """What a run talks to.

    Attributes:
        completions: The endpoint of the language model.
        embeddings: The endpoint of the embedding model.
        model: The language model's name.
        embedding_model: The embedding model's name, or `local`.
    """

    completions: Endpoint
    embeddings: Endpoint
    model: str
    embedding_model: str = DEFAULT_EMBEDDING_MODEL


def variables(environment: Mapping[str, str], env_file: Path | None) -> dict[str, str]:
    """The variables of a run: those of the environment, and for what it lacks those of an `.env` file.

    Raises:
        GenerationError: there is no such file.
    """
    if env_file is None:
        return dict(environment)
    if not env_file.is_file():
        raise errors.GenerationError(f"{env_file}: no such file; --env_file names one with lines NAME=value")
    told = {name: value for name, value in dotenv.dotenv_values(env_file).items() if value is not None}
    return {**told, **environment}


def provider(environment: Mapping[str, str], wanted: str | None) -> Provider:
    """Which provider a run uses: the one that was asked for, or the one that AWM_SYN_LLM_PROVIDER names.

    Raises:
        GenerationError: there is no such provider.
    """
    name = (wanted or environment.get("AWM_SYN_LLM_PROVIDER") or "openai").lower()
    for known in PROVIDERS:
        if name == known:
            return known
    source = "--provider" if wanted else "AWM_SYN_LLM_PROVIDER"
    raise errors.GenerationError(f"{source}: no provider {name!r}; there are {', '.join(PROVIDERS)}")


def read(
    environment: Mapping[str, str], provider: Provider, *, model: str | None, embedding_model: str | None = None
) -> Endpoints:
    """The endpoints that the variables name.

    Raises:
        GenerationError: a needed variable is missing; the message names it.
    """
    main = _azure(environment) if provider == "azure" else _openai(environment)
    key, url = environment.get("EMBEDDING_OPENAI_API_KEY"), environment.get("EMBEDDING_OPENAI_BASE_URL")
    own = Endpoint(key=key or main.key, url=url or (None if key else main.url)) if key or url else main
    return Endpoints(
        completions=main,
        embeddings=own,
        model=environment.get("AWM_SYN_OVERRIDE_MODEL") or model or DEFAULT_MODEL,
        embedding_model=embedding_model or DEFAULT_EMBEDDING_MODEL,
    )


def _openai(environment: Mapping[str, str]) -> Endpoint:
    return Endpoint(key=_needed(environment, "OPENAI_API_KEY"), url=environment.get("OPENAI_BASE_URL") or None)


def _azure(environment: Mapping[str, str]) -> Endpoint:
    return Endpoint(
        azure=True,
        url=_needed(environment, "AZURE_ENDPOINT_URL"),
        key=_needed(environment, "AZURE_OPENAI_API_KEY"),
        api_version=environment.get("OPENAI_API_VERSION") or AZURE_API_VERSION,
    )


def _needed(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "").strip()
    if not value:
        raise errors.GenerationError(
            f"{name} is not set; export it, name a file that has it with --env_file, or take --provider builtin, "
            "which needs no key"
        )
    return value

"""Which endpoint a run asks, by its variables."""

from pathlib import Path

import pytest

from awm_generator import errors
from awm_generator.model import endpoints

OPENAI = {"OPENAI_API_KEY": "sk-secret", "OPENAI_BASE_URL": "http://here/v1"}
AZURE = {"AZURE_ENDPOINT_URL": "http://azure", "AZURE_OPENAI_API_KEY": "az-secret"}


def test_openai_by_its_variables() -> None:
    where = endpoints.read(OPENAI, "openai", model="m")
    assert (where.completions.url, where.completions.key, where.model) == ("http://here/v1", "sk-secret", "m")
    assert where.embeddings == where.completions
    assert endpoints.read({"OPENAI_API_KEY": "k"}, "openai", model=None).completions.url is None


def test_azure_by_its_variables() -> None:
    where = endpoints.read(AZURE, "azure", model="deployment")
    assert where.completions.azure
    assert (where.completions.url, where.completions.api_version) == ("http://azure", endpoints.AZURE_API_VERSION)


def test_embeddings_can_be_elsewhere() -> None:
    variables = {**AZURE, "EMBEDDING_OPENAI_API_KEY": "e", "EMBEDDING_OPENAI_BASE_URL": "http://there/v1"}
    where = endpoints.read(variables, "azure", model=None)
    assert (where.embeddings.azure, where.embeddings.url, where.embeddings.key) == (False, "http://there/v1", "e")


def test_the_override_comes_before_the_flag() -> None:
    assert endpoints.read({**OPENAI, "AWM_SYN_OVERRIDE_MODEL": "x"}, "openai", model="m").model == "x"
    assert endpoints.read(OPENAI, "openai", model=None).model == endpoints.DEFAULT_MODEL


def test_the_provider_by_flag_or_variable() -> None:
    assert endpoints.provider({}, None) == "openai"
    assert endpoints.provider({"AWM_SYN_LLM_PROVIDER": "azure"}, None) == "azure"
    assert endpoints.provider({"AWM_SYN_LLM_PROVIDER": "azure"}, "builtin") == "builtin"
    with pytest.raises(errors.GenerationError, match=r"AWM_SYN_LLM_PROVIDER: no provider 'aws'; there are openai"):
        endpoints.provider({"AWM_SYN_LLM_PROVIDER": "aws"}, None)


@pytest.mark.parametrize(
    ("provider", "variables", "missing"),
    [
        ("openai", {}, "OPENAI_API_KEY"),
        ("openai", {"OPENAI_API_KEY": " "}, "OPENAI_API_KEY"),
        ("azure", {"AZURE_OPENAI_API_KEY": "k"}, "AZURE_ENDPOINT_URL"),
        ("azure", {"AZURE_ENDPOINT_URL": "u"}, "AZURE_OPENAI_API_KEY"),
    ],
)
def test_a_missing_variable_is_named_with_what_to_do(
    provider: endpoints.Provider, variables: dict[str, str], missing: str
) -> None:
    with pytest.raises(errors.GenerationError, match=rf"{missing} is not set; .*--env_file"):
        endpoints.read(variables, provider, model=None)


def test_a_file_gives_what_the_environment_lacks(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("# keys\nexport OPENAI_API_KEY='from file'\nOPENAI_BASE_URL=http://file/v1\n")
    told = endpoints.variables({"OPENAI_BASE_URL": "http://shell/v1"}, file)
    assert told == {"OPENAI_API_KEY": "from file", "OPENAI_BASE_URL": "http://shell/v1"}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.GenerationError, match="no such file; --env_file"):
        endpoints.variables({}, tmp_path / "none")


def test_a_key_is_never_shown() -> None:
    assert "secret" not in repr(endpoints.read(OPENAI, "openai", model=None))

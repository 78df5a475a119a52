"""What every language model has to do, whatever is behind it: an endpoint over HTTP, or a function in this process."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import doubles
import pytest

from awm_fleet import examples
from awm_generator import errors, prompts
from awm_generator.double import app, jobs, scripts
from awm_generator.model import endpoints, language, openai_models, scripted

KINDS = ("openai", "azure", "scripted")
Use = Callable[[Callable[[language.LanguageModel], Awaitable[None]]], None]


@pytest.fixture(scope="module")
def double() -> Iterator[doubles.Double]:
    with doubles.running() as running:
        yield running


@pytest.fixture(params=KINDS)
def use(request: pytest.FixtureRequest, double: doubles.Double) -> Use:
    """Runs something with a model of each kind."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[language.LanguageModel]:
        if request.param == "scripted":
            found = scripts.Scripts(scripts.load([examples.path("library")]))
            yield scripted.ScriptedModel(lambda asked: found.answer(jobs.recognised(_as_sent(asked))))
            return
        environment = double.azure if request.param == "azure" else double.environment
        where = endpoints.read(environment, request.param, model="any")
        async with openai_models.OpenAIModel(where) as model:
            yield model

    def run(work: Callable[[language.LanguageModel], Awaitable[None]]) -> None:
        async def inside() -> None:
            async with opened() as model:
                await work(model)

        asyncio.run(inside())

    return run


def _as_sent(asked: language.Request) -> list[dict[str, str]]:
    return [{"role": each.role, "content": each.content} for each in asked.messages]


def asked(shape: language.Shape | None = None) -> language.Request:
    values = {"title": "Larch Street Library", "description": "", "brief": "", "count": 3, "reading": 1}
    return language.Request(messages=prompts.conversation("task", **values), shape=shape)


def test_a_model_answers_and_says_what_it_took(use: Use) -> None:
    async def work(model: language.LanguageModel) -> None:
        reply = await model.complete(asked())
        assert reply.text.startswith('{"tasks": [')
        assert reply.finish == "stop"
        assert reply.usage.input_tokens > 100
        assert reply.usage.output_tokens > 10

    use(work)


def test_a_model_takes_a_schema(use: Use) -> None:
    async def work(model: language.LanguageModel) -> None:
        shape = language.Shape("tasks", {"type": "object", "properties": {"tasks": {"type": "array"}}}, strict=False)
        assert (await model.complete(asked(shape))).text.startswith('{"tasks": [')

    use(work)


def test_embeddings_are_unit_vectors_in_the_order_of_the_texts(use: Use) -> None:
    async def work(model: language.LanguageModel) -> None:
        one, other, again = (await model.embed(["one", "other", "one"])).vectors
        assert one == again
        assert sum(a * a for a in one) == pytest.approx(1, abs=1e-4)
        assert abs(sum(a * b for a, b in zip(one, other, strict=True))) < 0.6

    use(work)


def test_a_model_has_names(use: Use) -> None:
    async def work(model: language.LanguageModel) -> None:
        assert model.name
        assert model.embedding_name

    use(work)


def talk(environment: dict[str, str], request: language.Request, *, azure: bool = False) -> language.Reply:
    async def inside() -> language.Reply:
        where = endpoints.read(environment, "azure" if azure else "openai", model="any")
        async with openai_models.OpenAIModel(where, timeout_s=2) as model:
            return await model.complete(request)

    return asyncio.run(inside())


def test_azure_gets_its_path_its_version_and_its_header(double: doubles.Double) -> None:
    talk(double.azure, asked(), azure=True)
    last = double.stats()["last"]
    assert last["path"] == "/openai/deployments/any/chat/completions"
    assert last["query"] == {"api-version": endpoints.AZURE_API_VERSION}
    assert last["key_in"] == "api-key"


def test_the_azure_version_can_be_set(double: doubles.Double) -> None:
    talk({**double.azure, "OPENAI_API_VERSION": "2030-01-01"}, asked(), azure=True)
    assert double.stats()["last"]["query"] == {"api-version": "2030-01-01"}


@pytest.mark.parametrize(
    ("cue", "error", "words"),
    [
        ({"fault": "429", "retry_after_s": 7}, errors.ModelUnavailable, "Rate limit reached"),
        ({"fault": "500"}, errors.ModelUnavailable, "The server had an error"),
        ({"fault": "503"}, errors.ModelUnavailable, "overloaded"),
        ({"fault": "cut"}, errors.ModelUnavailable, "127.0.0.1"),
        ({"fault": "malformed"}, errors.ModelUnavailable, "no completion"),
        ({"fault": "slow", "delay_s": 30}, errors.ModelUnavailable, "did not answer in time"),
        ({"fault": "quota"}, errors.ModelRefused, "exceeded your current quota"),
        ({"fault": "404"}, errors.ModelRefused, "does not exist"),
    ],
    ids=lambda value: value["fault"] if isinstance(value, dict) else None,
)
def test_what_fails_is_told_apart_in_the_endpoints_own_words(
    cue: dict[str, object], error: type[errors.ModelUnavailable], words: str, double: doubles.Double
) -> None:
    double.cue(**cue)  # type: ignore[arg-type]
    with pytest.raises(error, match=words) as caught:
        talk(double.environment, asked())
    if cue["fault"] == "429":
        assert caught.value.retry_after_s == 7
        assert caught.value.overloaded


def test_a_wrong_key_is_refused_and_not_repeated() -> None:
    with (
        doubles.running(flags=("--key", "sk-right")) as double,
        pytest.raises(errors.ModelRefused, match="Incorrect API key") as caught,
    ):
        talk(double.environment, asked())
    assert doubles.KEY not in str(caught.value)


def test_a_wrong_model_name_is_refused() -> None:
    with (
        doubles.running(flags=("--model", "gpt-real")) as double,
        pytest.raises(errors.ModelRefused, match="`any` does not exist"),
    ):
        talk(double.environment, asked())


def test_an_endpoint_that_is_down_is_named() -> None:
    with pytest.raises(errors.ModelUnavailable, match=r"127\.0\.0\.1:9/v1"):
        talk({"OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "OPENAI_API_KEY": "any"}, asked())


def test_an_endpoint_without_structured_output_says_that_the_form_is_the_trouble() -> None:
    with (
        doubles.running(flags=("--structured", "none")) as double,
        pytest.raises(errors.FormUnsupported, match="response_format"),
    ):
        talk(double.environment, asked(language.Shape("tasks", {"type": "object"})))


def test_the_double_answers_a_stranger_in_words(tmp_path: Path) -> None:
    found = scripts.Scripts(scripts.load([examples.path("library")]))
    assert "none of them" in found.answer(jobs.recognised([{"role": "user", "content": "Hello"}]))
    assert app.Behaviour().structured == "schema"

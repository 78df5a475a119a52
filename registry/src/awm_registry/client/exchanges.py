"""HTTP as the clients speak it: every failure becomes an error of ours."""

import contextlib
from collections.abc import Iterator
from typing import Any

import httpx
import pydantic

from awm_registry import errors as registry_errors
from awm_runtime import errors
from awm_runtime.contract import problems

_MOST_SHOWN = 200
KEPT_S = 2.0
"""An idle connection is given up after this, well before a server would: a request that meets its closing is lost."""
LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=KEPT_S)
"""Of a client that one thread, or a few, use."""


def checked(url: str) -> str:
    """`url`, which is one that can be asked.

    Raises:
        PermanentError: It is none.
    """
    try:
        scheme = httpx.URL(url).scheme
    except httpx.InvalidURL as exc:
        raise errors.PermanentError(f"{url!r} is no URL: {exc}") from exc
    if scheme not in ("http", "https"):
        raise errors.PermanentError(f"{url!r} is no URL that begins with http:// or https://")
    return url


def bearer(token: str | None) -> dict[str, str]:
    """The headers that show a token, where there is one."""
    return {"Authorization": f"Bearer {token}"} if token else {}


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """Turns what httpx raises for a request without an answer into an error of ours.

    Raises:
        Unreachable: No answer came.
    """
    try:
        yield
    except httpx.TimeoutException as exc:
        raise registry_errors.Unreachable(f"{exc.request.url} did not answer in time") from exc
    except httpx.RequestError as exc:
        raise registry_errors.Unreachable(
            f"{exc.request.url} cannot be reached: {str(exc) or type(exc).__name__}"
        ) from exc


def ask(client: httpx.Client, method: str, url: str, **options: Any) -> httpx.Response:
    """Sends one request and takes any answer.

    Raises:
        Unreachable: No answer came.
    """
    with answering():
        return client.request(method, url, **options)


def good(response: httpx.Response) -> httpx.Response:
    """An answer that says that all went well.

    Raises:
        Unreachable: It says no more than that the server is in trouble.
        ProblemError: It is a problem.
        PermanentError: Whoever answers there is none of ours.
    """
    if response.is_success:
        return response
    raise problem(response) or stranger(response)


def problem(response: httpx.Response) -> problems.ProblemError | None:
    """The problem that an answer is, if it is one."""
    if not response.headers.get("content-type", "").startswith(problems.MEDIA_TYPE):
        return None
    try:
        return problems.ProblemError.of(problems.Problem.model_validate_json(response.content))
    except pydantic.ValidationError:
        return None


def stranger(response: httpx.Response) -> errors.AwmError:
    """The error for an answer that makes no sense; one of 500 and up may be a proxy's, for a server that is away."""
    said = " ".join(response.text[:_MOST_SHOWN].split())
    message = f"{response.request.url} answered {response.status_code}: {said or 'nothing'}"
    return registry_errors.Unreachable(message) if response.is_server_error else errors.PermanentError(message)

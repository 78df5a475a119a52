"""HTTP as both clients speak it: every failure becomes an error of ours."""

from typing import Any

import httpx
import pydantic

from awm_runtime import errors
from awm_runtime.contract import problems

_MOST_SHOWN = 200


class Unreachable(errors.TransientError):
    """The server does not answer; the message says which, and why."""


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


def ask(client: httpx.Client, method: str, url: str, **options: Any) -> httpx.Response:
    """Sends one request and takes any answer.

    Raises:
        Unreachable: No answer came.
    """
    try:
        return client.request(method, url, **options)
    except httpx.TimeoutException as exc:
        raise Unreachable(f"{exc.request.url} did not answer in time") from exc
    except httpx.RequestError as exc:
        raise Unreachable(f"{exc.request.url} cannot be reached: {str(exc) or type(exc).__name__}") from exc


def send(client: httpx.Client, method: str, url: str, **options: Any) -> httpx.Response:
    """Sends one request and takes a good answer.

    Raises:
        Unreachable: No answer came, or one that says no more than that the server is in trouble.
        ProblemError: The answer is a problem.
        PermanentError: Whoever answers there is none of ours.
    """
    response = ask(client, method, url, **options)
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
    return Unreachable(message) if response.is_server_error else errors.PermanentError(message)

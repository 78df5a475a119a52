"""HTTP as both clients speak it: every failure becomes an error of ours."""

from typing import Any

import httpx

from awm_runtime import errors
from awm_runtime.contract import problems


class Unreachable(errors.TransientError):
    """The server does not answer; the message says which, and why."""


def send(client: httpx.Client, method: str, url: str, **options: Any) -> httpx.Response:
    """Sends one request.

    Raises:
        Unreachable: No answer came.
        ProblemError: The answer is a problem.
    """
    try:
        response = client.request(method, url, **options)
    except httpx.TimeoutException as exc:
        raise Unreachable(f"{url} did not answer in time") from exc
    except httpx.TransportError as exc:
        raise Unreachable(f"{url} cannot be reached: {exc}") from exc
    if response.is_error:
        raise _problem(response)
    return response


def _problem(response: httpx.Response) -> errors.AwmError:
    if response.headers.get("content-type", "").startswith(problems.MEDIA_TYPE):
        return problems.ProblemError.of(problems.Problem.model_validate_json(response.content))
    return Unreachable(f"{response.request.url} answered {response.status_code}: {response.text[:200]}")

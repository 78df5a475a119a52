"""Problems as FastAPI answers them: ours, the framework's, and what nobody thought of."""

import fastapi
from fastapi import exceptions
from starlette import exceptions as starlette_exceptions

from awm_runtime.contract import problems


def install(app: fastapi.FastAPI) -> None:
    """Makes every error of an app an `application/problem+json`."""
    app.add_exception_handler(problems.ProblemError, _problem_response)
    app.add_exception_handler(exceptions.RequestValidationError, _invalid_response)
    app.add_exception_handler(starlette_exceptions.HTTPException, _refused_response)
    app.add_exception_handler(Exception, _internal_response)


def respond(problem: problems.ProblemError) -> fastapi.Response:
    """The response that carries a problem."""
    headers = {}
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, round(problem.retry_after_s)))
    if problem.code is problems.Code.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = "Bearer"
    return fastapi.Response(
        problem.body(), status_code=problem.problem.status, media_type=problems.MEDIA_TYPE, headers=headers
    )


async def _problem_response(_request: fastapi.Request, exc: Exception) -> fastapi.Response:
    assert isinstance(exc, problems.ProblemError)
    return respond(exc)


async def _invalid_response(_request: fastapi.Request, exc: Exception) -> fastapi.Response:
    assert isinstance(exc, exceptions.RequestValidationError)
    said = "; ".join(f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}" for each in exc.errors()[:5])
    return respond(problems.ProblemError(problems.Code.BAD_REQUEST, said))


async def _refused_response(_request: fastapi.Request, exc: Exception) -> fastapi.Response:
    """What the framework refuses: a route or a method that does not exist, a body that is no text."""
    assert isinstance(exc, starlette_exceptions.HTTPException)
    plain = problems.ProblemError(problems.Code.BAD_REQUEST, str(exc.detail)).problem
    problem = plain.model_copy(update={"status": exc.status_code})
    return fastapi.Response(
        problem.model_dump_json(by_alias=True),
        status_code=exc.status_code,
        media_type=problems.MEDIA_TYPE,
        headers=exc.headers,
    )


async def _internal_response(_request: fastapi.Request, _exc: Exception) -> fastapi.Response:
    return respond(problems.ProblemError(problems.Code.INTERNAL, "the server failed on this request; its log says why"))

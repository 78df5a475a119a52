"""What a verifier may return, checked by those who trust it with nothing."""

import json
import math
from typing import Any, Literal, NoReturn

MAX_BYTES = 256 * 1024
MAX_DEPTH = 50

_RESULTS = ("complete", "others")


class MalformedResult(ValueError):
    """The verifier returned nonsense. The message says what is wrong."""


def parse(data: bytes, mode: Literal["code", "sql"]) -> dict[str, Any]:
    """The result in `data`, a JSON document.

    Raises:
        MalformedResult: it is no JSON, too deep, or not what a verifier of this mode returns.
    """
    try:
        result = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as exc:
        raise MalformedResult(f"not JSON: {exc}") from exc
    if not isinstance(result, dict):
        raise MalformedResult(f"a {type(result).__name__} where a dict is expected")
    if _depth_exceeds(result, MAX_DEPTH):
        raise MalformedResult(f"nested more than {MAX_DEPTH} levels deep")
    if mode == "code":
        _check_judgement(result)
    return result


def _check_judgement(result: dict[str, Any]) -> None:
    if result.get("result") not in _RESULTS:
        raise MalformedResult(f"unknown result {str(result.get('result'))[:50]!r}, expected one of {_RESULTS}")
    score = result.get("score", 0.0)
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1 or not math.isfinite(score):
        raise MalformedResult(f"score {str(score)[:50]!r} is not a number from 0 to 1")
    checks = result.get("checks", {})
    if not isinstance(checks, dict) or not all(isinstance(value, bool) for value in checks.values()):
        raise MalformedResult("checks are not a dict of true and false")


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedResult(f"{name} is not a number")


def _depth_exceeds(value: object, limit: int) -> bool:
    # Level by level: a recursive walk would be at the mercy of what it measures.
    level = [value]
    for _ in range(limit):
        level = [child for item in level for child in _children(item)]
        if not level:
            return False
    return True


def _children(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []

from typing import Any

import pytest

from awm_runtime.contract import verdicts as contract
from awm_runtime.verification import verdicts, wire

COMPLETE = {"result": "complete"}
HALF = {"result": "others", "score": 0.5, "checks": {"created": True, "paid": False}}
OTHERS = {"result": "others"}


def decide(
    result: dict[str, Any] | None = None,
    *,
    reply: wire.JudgeReply | None = None,
    environment: int = 0,
    infrastructure: int = 0,
    interrupted: int | None = None,
    **request: Any,
) -> contract.Verdict:
    return verdicts.decide(
        reply or wire.JudgeReply(result=result, ms=6.0),
        errors=contract.ErrorCounts(refused=1, environment=environment, infrastructure=infrastructure),
        environment_calls=list(range(3, 3 + environment)),
        request=contract.VerifyRequest(**request),
        state_hash="sha256:state",
        version="sha256:source",
        interrupted=interrupted,
    )


@pytest.mark.parametrize(
    ("result", "outcome", "reward", "score"),
    [
        (COMPLETE, "completed", 1.0, 1.0),
        ({"result": "complete", "score": 0.2}, "completed", 1.0, 1.0),
        (HALF, "partial", 0.1, 0.5),
        (OTHERS, "failed", 0.0, 0.0),
        ({"result": "others", "score": 0}, "failed", 0.0, 0.0),
        ({"result": "others", "score": 1}, "failed", 0.0, 1.0),
    ],
)
def test_result_is_rewarded(result: dict[str, Any], outcome: str, reward: float, score: float) -> None:
    verdict = decide(result)

    assert (verdict.outcome, verdict.reward, verdict.mask) == (outcome, reward, False)
    assert verdict.components == {"state": score}
    assert verdict.blame is None


def test_verdict_says_by_what_it_was_reached() -> None:
    verdict = decide({**HALF, "seen": [42]})

    assert verdict.checks == {"created": True, "paid": False}
    assert verdict.evidence == {"seen": [42]}
    assert verdict.errors.refused == 1
    assert verdict.state_hash == "sha256:state"
    assert verdict.verifier == contract.VerifierIdentity(kind="code", version="sha256:source", ms=6.0)


def test_partial_reward_is_the_callers_choice() -> None:
    assert decide(HALF, partial_reward=0.4).reward == 0.4


@pytest.mark.parametrize("result", [HALF, OTHERS])
def test_environment_errors_mask_what_is_not_completed_and_are_named(result: dict[str, Any]) -> None:
    verdict = decide(result, environment=2)

    assert (verdict.mask, verdict.blame, verdict.calls_to_blame) == (True, "environment", [3, 4])


def test_environment_errors_are_scored_but_named_where_the_caller_asks_for_it() -> None:
    verdict = decide(OTHERS, environment=1, on_environment_error="score")

    assert (verdict.reward, verdict.mask, verdict.calls_to_blame) == (0.0, False, [3])


def test_completed_verdict_counts_whatever_failed_on_the_way() -> None:
    verdict = decide(COMPLETE, environment=2, infrastructure=1)

    assert (verdict.reward, verdict.mask, verdict.calls_to_blame) == (1.0, False, [])


def test_infrastructure_errors_mask_what_is_not_completed_whatever_the_policy() -> None:
    verdict = decide(OTHERS, infrastructure=1, on_environment_error="score")

    assert (verdict.mask, verdict.blame) == (True, "infrastructure")


@pytest.mark.parametrize("result", [COMPLETE, OTHERS])
def test_interrupted_episode_is_masked(result: dict[str, Any]) -> None:
    verdict = decide(result, environment=1, interrupted=7)

    assert (verdict.mask, verdict.blame, verdict.calls_to_blame) == (True, "infrastructure", [3, 7])
    assert verdict.reason == "call 7 was cut off by a crash"


def test_evidence_without_a_judge_is_undecided() -> None:
    verdict = decide({"rows": [1]}, mode="sql")

    assert (verdict.outcome, verdict.reward, verdict.mask) == ("undecided", None, True)
    assert verdict.evidence == {"rows": [1]}
    assert verdict.components == {}


@pytest.mark.parametrize(
    ("failure", "blame"),
    [
        ("crashed", "environment"),
        ("timeout", "environment"),
        ("malformed", "environment"),
        ("missing_function", "environment"),
        ("unavailable", "infrastructure"),
    ],
)
def test_verifier_failure_abstains_and_is_never_a_zero(failure: wire.FailureKind, blame: str) -> None:
    verdict = decide(reply=wire.JudgeReply(failure=failure, detail="why", ms=1.0))

    assert (verdict.outcome, verdict.reward, verdict.mask, verdict.blame) == ("abstained", None, True, blame)
    assert verdict.reason == f"{failure}: why"

"""From a judge's reply to a verdict: what counts, what is masked, and by whose fault."""

from typing import Any

from awm_runtime.contract import verdicts
from awm_runtime.verification import wire

_JUDGEMENT = ("result", "score", "checks")


def decide(
    reply: wire.JudgeReply,
    *,
    errors: verdicts.ErrorCounts,
    environment_calls: list[int],
    request: verdicts.VerifyRequest,
    state_hash: str,
    version: str,
    interrupted: int | None = None,
) -> verdicts.Verdict:
    """The verdict on an episode.

    Args:
        reply: What came of the verification.
        errors: The episode's errors so far.
        environment_calls: Numbers of the calls with environment errors.
        request: The caller's settings.
        state_hash: The hash of the state that was judged.
        version: The hash of the verifier's source.
        interrupted: The number of a call that a crash cut off, or None.
    """
    judged = verdicts.Verdict(
        outcome="abstained",
        reward=None,
        mask=True,
        errors=errors,
        state_hash=state_hash,
        verifier=verdicts.VerifierIdentity(kind=request.mode, version=version, ms=reply.ms),
    )
    if reply.result is None:
        return judged.model_copy(update=_abstention(reply))
    if request.mode == "sql":
        return judged.model_copy(update={"outcome": "undecided", "evidence": reply.result})
    scored = judged.model_copy(update=_judgement(reply.result, request))
    return scored.model_copy(update=_masking(scored, environment_calls, request, interrupted))


def _abstention(reply: wire.JudgeReply) -> dict[str, Any]:
    blame = "infrastructure" if reply.failure == "unavailable" else "environment"
    return {"blame": blame, "reason": f"{reply.failure}: {reply.detail}"}


def _judgement(result: dict[str, Any], request: verdicts.VerifyRequest) -> dict[str, Any]:
    complete = result["result"] == "complete"
    score = 1.0 if complete else float(result.get("score", 0.0))
    outcome, reward = "failed", 0.0
    if complete:
        outcome, reward = "completed", 1.0
    elif 0 < score < 1:
        outcome, reward = "partial", request.partial_reward
    return {
        "outcome": outcome,
        "reward": reward,
        "mask": False,
        "components": {"state": score},
        "checks": result.get("checks", {}),
        "evidence": {name: value for name, value in result.items() if name not in _JUDGEMENT},
    }


def _masking(
    verdict: verdicts.Verdict, calls: list[int], request: verdicts.VerifyRequest, interrupted: int | None
) -> dict[str, Any]:
    """Who else may be to blame for the outcome.

    A cut-off call may have left half of its changes, so that no outcome can be trusted. Other errors do not take a
    completed task away; a failed one may be theirs.
    """
    if interrupted is not None:
        reason = f"call {interrupted} was cut off by a crash"
        return {
            "mask": True,
            "blame": "infrastructure",
            "reason": reason,
            "calls_to_blame": sorted({*calls, interrupted}),
        }
    if verdict.outcome == "completed":
        return {}
    if verdict.errors.infrastructure:
        reason = f"{verdict.errors.infrastructure} calls failed through no fault of the agent or the environment"
        return {"mask": True, "blame": "infrastructure", "reason": reason, "calls_to_blame": calls}
    if verdict.errors.environment:
        return {"mask": request.on_environment_error == "mask", "blame": "environment", "calls_to_blame": calls}
    return {}

import pytest

from awm_generator.awm_files import untouched
from awm_runtime.verification import sandbox


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (sandbox.JudgeReply(result={"result": "others"}), []),
        (sandbox.JudgeReply(result={"result": "complete"}), [("complete_on_untouched", "noted")]),
        (sandbox.JudgeReply(failure="crashed", detail="ZeroDivisionError"), [("verifier_fails", "noted")]),
        (sandbox.JudgeReply(failure="timeout", detail="after 10 s"), [("verifier_fails", "dropped")]),
        (sandbox.JudgeReply(failure="malformed", detail="no dict"), [("verifier_fails", "dropped")]),
        (sandbox.JudgeReply(failure="missing_function", detail="deleted"), [("verifier_fails", "dropped")]),
        (sandbox.JudgeReply(failure="unavailable", detail="no Landlock"), [("verifier_untried", "noted")]),
    ],
)
def test_a_verifier_is_blamed_for_what_is_its_own_doing_only(
    reply: sandbox.JudgeReply, expected: list[tuple[str, str]]
) -> None:
    findings = untouched.of_reply("3", reply)
    assert [(finding.kind, finding.action) for finding in findings] == expected
    assert {finding.subject for finding in findings} <= {"3"}
    assert all(reply.detail in finding.detail for finding in findings)

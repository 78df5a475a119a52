import pytest

from awm_generator.awm_files import untouched
from awm_runtime.verification import sandbox


@pytest.mark.parametrize(
    ("reply", "kinds"),
    [
        (sandbox.JudgeReply(result={"result": "others"}), []),
        (sandbox.JudgeReply(result={"result": "complete"}), ["complete_on_untouched"]),
        (sandbox.JudgeReply(failure="crashed", detail="ZeroDivisionError"), ["verifier_fails"]),
        (sandbox.JudgeReply(failure="timeout", detail="after 10 s"), ["verifier_fails"]),
        (sandbox.JudgeReply(failure="unavailable", detail="no Landlock"), ["verifier_untried"]),
    ],
)
def test_a_verifier_is_blamed_for_what_is_its_own_doing_only(reply: sandbox.JudgeReply, kinds: list[str]) -> None:
    findings = untouched.of_reply("3", reply)
    assert [finding.kind for finding in findings] == kinds
    assert {(finding.subject, finding.action) for finding in findings} <= {("3", "noted")}
    assert all(reply.detail in finding.detail for finding in findings)

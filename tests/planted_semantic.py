"""Defects that verdicts show, each with the gate that is to find it."""

import planted

_COMPLETE = 'return {"result": "complete"}\n    before, after = read'
_VERDICT = "before, after = read(initial_db_path), read(final_db_path)"

_ALL = ("semantic.answerless", "semantic.mutants", "semantic.outside-changes")

PLANTS = (
    planted.Plant(
        "an oracle that stops too early",
        "semantic.oracle",
        planted.in_oracle("mill-quay", lambda oracle: oracle.model_copy(update={"calls": oracle.calls[:-1]})),
        ("semantic.mutants",),
        task="mill-quay",
    ),
    planted.Plant(
        "an oracle that finds nothing",
        "semantic.oracle",
        planted.in_oracle(
            "soil-cancel", planted.last_call(arguments={"hold_id": {"$from": "holds.items[?title=='Mud'].id | [0]"}})
        ),
        task="soil-cancel",
    ),
    planted.Plant(
        "a task without an oracle",
        "semantic.oracle",
        planted.in_oracle("soil-cancel", lambda _: None),
        task="soil-cancel",
    ),
    planted.Plant(
        "an oracle that is refused",
        "semantic.oracle",
        planted.in_oracle("soil-cancel", planted.last_call(arguments={"hold_id": 9999})),
        task="soil-cancel",
    ),
    planted.Plant(
        "a verifier that is content with all",
        "semantic.untouched",
        planted.in_verifier("two-fines", "before, after = read", _COMPLETE),
        _ALL,
        task="two-fines",
    ),
    planted.Plant(
        "a verifier that returns nothing",
        "semantic.untouched",
        planted.in_verifier("two-fines", "before, after = read", "return None\n    before, after = read"),
        ("semantic.oracle",),
        task="two-fines",
    ),
    planted.Plant(
        "evidence that shows nothing",
        "semantic.untouched",
        planted.with_evidence("soil-cancel", "return {'rows': 7}"),
        ("semantic.oracle",),
        task="soil-cancel",
    ),
    planted.Plant(
        "evidence that is none",
        "semantic.untouched",
        planted.with_evidence("soil-cancel", "return 7"),
        ("semantic.oracle",),
        task="soil-cancel",
    ),
    planted.Plant(
        "a verifier that does not hear",
        "semantic.answerless",
        planted.in_verifier("two-fines", 'says(final_answer, "4.50", "4.5", "4,50", "450")', "True"),
        ("semantic.mutants",),
        task="two-fines",
    ),
    planted.Plant(
        "a verifier that counts holds",
        "semantic.mutants",
        planted.in_verifier(
            "rain-hold",
            _VERDICT,
            f'{_VERDICT}\n    if len(after["holds"]) > len(before["holds"]):\n        return {{"result": "complete"}}',
        ),
        ("semantic.outside-changes",),
        task="rain-hold",
    ),
    planted.Plant(
        "a verifier that looks at the clock's seconds",
        "semantic.equivalents",
        planted.in_verifier(
            "rain-hold",
            _VERDICT,
            f'{_VERDICT}\n    made = [row for key, row in after["holds"].items() if key not in before["holds"]]\n'
            '    if made and made[0]["created_at"] != "2026-03-02T09:00:02Z":\n        return {"result": "others"}',
        ),
        task="rain-hold",
    ),
    planted.Plant(
        "a verifier that looks at one table",
        "semantic.outside-changes",
        planted.in_verifier(
            "rain-hold", "if left else share", 'if [each for each in left if each[0] == "holds"] else share'
        ),
        ("semantic.mutants",),
        task="rain-hold",
    ),
    planted.Plant(
        "a verifier that throws dice",
        "semantic.steadiness",
        planted.in_verifier(
            "rain-hold",
            _VERDICT,
            f'{_VERDICT}\n    import random\n    if random.random() < 0.3:\n        return {{"result": "others"}}',
        ),
        ("semantic.oracle", "semantic.equivalents"),
        task="rain-hold",
    ),
    planted.Plant(
        "a verifier that does not end",
        "semantic.steadiness",
        planted.in_verifier("rain-hold", _VERDICT, f"while True:\n        pass\n    {_VERDICT}"),
        ("semantic.oracle", "semantic.untouched"),
        task="rain-hold",
    ),
    planted.Plant(
        "an answer on a label",
        "semantic.answer-texts",
        planted.in_code(
            'description="All branches with', 'description="Maps of the Night Sky was popular. All branches with'
        ),
        tools=True,
        task="renew-week",
    ),
)

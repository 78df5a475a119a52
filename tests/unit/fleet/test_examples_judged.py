"""The examples' verifiers: each oracle completes its task, other right ways do too, and near misses do not."""

import playing
import pytest

from awm_fleet import examples
from awm_runtime.bundle import reading
from awm_runtime.verification import sandbox

ALL_TASKS = [
    pytest.param(name, task.id, id=f"{name}-{task.id}")
    for name in examples.names()
    for task in reading.read(examples.path(name)).tasks
]

NEAR_MISSES: list[tuple[str, str, playing.Calls, str | None]] = [
    ("library", "next-due", [], "Maps of the Night Sky, by 7 March"),
    ("library", "next-due", [], "Maps of the Night Sky, and before that Bread Without Hurry by 5 March"),
    ("library", "next-due", [("renew_loan", {"loan_id": 1})], "Bread Without Hurry, by 2026-03-05"),
    ("library", "rain-hold", [("place_hold", {"title_id": 15, "pickup_branch_id": 2})], None),
    ("library", "rain-hold", [("place_hold", {"title_id": 15}), ("pay_fine", {"fine_id": 1})], None),
    ("library", "soil-cancel", [("cancel_hold", {"hold_id": 1})], None),
    ("library", "renew-week", [("renew_loan", {"loan_id": 1})], "Maps of the Night Sky"),
    (
        "library",
        "renew-week",
        [("renew_loan", {"loan_id": 1}), ("renew_loan", {"loan_id": 3})],
        "Bread Without Hurry, Slow Trains North and Maps of the Night Sky",
    ),
    ("library", "two-fines", [("pay_fine", {"fine_id": 1}), ("pay_fine", {"fine_id": 5})], "0.90"),
    ("library", "two-fines", [("pay_fine", {"fine_id": number}) for number in (1, 2, 5)], "4.50"),
    ("library", "story-hour", [("register_for_event", {"event_id": 2, "seats": 2})], None),
    ("library", "story-hour", [("register_for_event", {"event_id": 3})], None),
    ("library", "sourdough-swap", [("register_for_event", {"event_id": 9})], None),
    ("library", "train-listening", [("create_reading_list", {"name": "Train listening"})], None),
    ("library", "mill-quay", [("cancel_hold", {"hold_id": 5})], None),
    ("library", "third-renewal", [], "Done, it is renewed until 14 April."),
    (
        "library",
        "third-renewal",
        [("return_loan", {"loan_id": 4}), ("check_out_copy", {"barcode": "B-0016"})],
        "It could not be renewed again because of the limit, so I borrowed it anew.",
    ),
    ("clinic", "next-visit", [], "On 9 March at 09:00 with Dr Yusuf Hale"),
    ("clinic", "new-phone", [("update_patient_contact", {"patient_id": 4, "phone": "555-0177"})], None),
    ("clinic", "next-visit", [], "At 13:30 on 5 March with Dr Hale or Dr Caro"),
    ("clinic", "busiest", [], "Dr Yusuf Hale, 90 minutes"),
    ("clinic", "busiest", [], "Bram Visser with 135 minutes, ahead of Dr Yusuf Hale"),
    ("clinic", "friday-off", [("cancel_appointment", {"appointment_id": 16, "wanted_by": "patient"})], None),
    (
        "clinic",
        "thursday-instead",
        [("reschedule_appointment", {"appointment_id": 20, "starts_at": "2026-03-05T09:45:00Z"})],
        None,
    ),
    ("clinic", "settle-up", [("record_payment", {"invoice_id": 1, "method": "card"})], "45.00"),
    ("clinic", "settle-up", [("record_payment", {"invoice_id": n, "method": "cash"}) for n in (1, 2)], "70.00"),
    ("clinic", "expired-referral", [], "It is booked for Friday at 11:00."),
    (
        "clinic",
        "expired-referral",
        [
            (
                "add_referral",
                {
                    "patient_id": 6,
                    "specialty": "imaging",
                    "issued_by": "Dr Yusuf Hale",
                    "expires_on": "2026-12-31",
                    "visits": 1,
                },
            )
        ],
        "The referral had expired and it could not be booked.",
    ),
    (
        "clinic",
        "rao-ill",
        [("reschedule_appointment", {"appointment_id": 17, "starts_at": "2026-03-06T09:00:00Z"})],
        None,
    ),
    (
        "clinic",
        "new-patient",
        [("create_patient", {"name": "Malik Osei", "born_on": "1988-07-19", "phone": "555-0190"})],
        None,
    ),
    (
        "clinic",
        "next-in-line",
        [
            ("cancel_appointment", {"appointment_id": 13, "wanted_by": "patient"}),
            (
                "book_appointment",
                {
                    "patient_id": 6,
                    "service_id": 1,
                    "practitioner_id": 1,
                    "starts_at": "2026-03-03T11:00:00Z",
                    "waitlist_entry_id": 2,
                },
            ),
        ],
        None,
    ),
]

DETOURS: list[tuple[str, str, playing.Calls, str | None]] = [
    (
        "library",
        "renew-week",
        [("renew_loan", {"loan_id": 3}), ("renew_loan", {"loan_id": 1})],
        "Renewals went through for Bread Without Hurry and Slow Trains North; bring back Maps of the Night Sky.",
    ),
    (
        "library",
        "train-listening",
        [
            ("create_reading_list", {"name": "Train listening"}),
            ("add_to_reading_list", {"list_id": 4, "title_id": 16}),
            ("remove_from_reading_list", {"list_id": 4, "entry_id": 7}),
            *[("add_to_reading_list", {"list_id": 4, "title_id": title, "note": ""}) for title in (17, 5, 4, 2)],
        ],
        None,
    ),
    (
        "library",
        "rain-hold",
        [
            ("place_hold", {"title_id": 15, "pickup_branch_id": 2}),
            ("change_hold_pickup", {"hold_id": 11, "pickup_branch_id": 1}),
        ],
        None,
    ),
    ("library", "two-fines", [("pay_fine", {"fine_id": number}) for number in (2, 1)], "You still owe €4,50."),
    (
        "clinic",
        "settle-up",
        [
            ("record_payment", {"invoice_id": n, "amount_cents": cents, "method": "card"})
            for n, cents in ((2, 2500), (1, 4500))
        ],
        "She paid 7,000 cents.",
    ),
    (
        "clinic",
        "rao-ill",
        [
            ("reschedule_appointment", {"appointment_id": visit, "starts_at": f"2026-03-06T{time}"})
            for visit, time in ((19, "11:00:00+00:00"), (18, "10:00:00"), (32, "10:30:00+01:00"), (17, "09:00:00Z"))
        ],
        None,
    ),
    (
        "clinic",
        "new-patient",
        [
            ("create_patient", {"name": " Malik Osei", "born_on": "1988-07-19", "phone": "555-0190", "email": ""}),
            (
                "add_referral",
                {
                    "patient_id": 15,
                    "specialty": "physiotherapy",
                    "issued_by": "Dr Odile Faure",
                    "expires_on": "2026-06-30",
                    "visits": 6,
                },
            ),
            (
                "book_appointment",
                {"patient_id": 15, "service_id": 5, "practitioner_id": 4, "starts_at": "2026-03-06T13:00:00Z"},
            ),
        ],
        None,
    ),
]


@pytest.mark.parametrize(("name", "task"), ALL_TASKS)
def test_an_oracle_completes_its_task(
    name: str, task: str, plays: dict[str, playing.Play], judge: sandbox.LocalJudge
) -> None:
    play = plays[name]
    wanted = play.bundle.task(task)
    assert wanted is not None
    answer = play.solve(wanted)
    result = playing.judged(judge, play, task, answer)
    assert (result["result"], result["score"]) == ("complete", 1.0), result["checks"]
    if wanted.answer is not None:
        assert playing.judged(judge, play, task, wanted.answer)["result"] == "complete"
        assert playing.judged(judge, play, task, None)["result"] == "others"


@pytest.mark.parametrize(("name", "task"), ALL_TASKS)
def test_an_untouched_database_earns_nothing(
    name: str, task: str, plays: dict[str, playing.Play], judge: sandbox.LocalJudge
) -> None:
    plays[name].start_over()
    result = playing.judged(judge, plays[name], task, None)
    assert (result["result"], result["score"]) == ("others", 0.0)


@pytest.mark.parametrize(("name", "task"), ALL_TASKS)
def test_a_solution_with_one_change_too_many_earns_nothing(
    name: str, task: str, plays: dict[str, playing.Play], judge: sandbox.LocalJudge
) -> None:
    play = plays[name]
    wanted = play.bundle.task(task)
    assert wanted is not None
    extra: dict[str, playing.Calls] = {
        "library": [("add_to_reading_list", {"list_id": 2, "title_id": 11})],
        "clinic": [("check_in_patient", {"appointment_id": 10})],
    }
    answer = play.solve(wanted)
    for tool, arguments in extra[name]:
        play.reply(tool, arguments)
    result = playing.judged(judge, play, task, answer)
    assert (result["result"], result["score"]) == ("others", 0.0)


@pytest.mark.parametrize(("name", "task", "calls", "answer"), NEAR_MISSES)
def test_a_near_miss_does_not_complete(
    name: str,
    task: str,
    calls: playing.Calls,
    answer: str | None,
    plays: dict[str, playing.Play],
    judge: sandbox.LocalJudge,
) -> None:
    play = plays[name]
    play.start_over()
    for tool, arguments in calls:
        play.reply(tool, arguments)
    assert playing.judged(judge, play, task, answer)["result"] == "others"


@pytest.mark.parametrize(("name", "task", "calls", "answer"), DETOURS)
def test_another_right_way_completes(
    name: str,
    task: str,
    calls: playing.Calls,
    answer: str | None,
    plays: dict[str, playing.Play],
    judge: sandbox.LocalJudge,
) -> None:
    play = plays[name]
    play.start_over()
    for tool, arguments in calls:
        play.reply(tool, arguments)
    result = playing.judged(judge, play, task, answer)
    assert result["result"] == "complete", result["checks"]


def test_part_of_the_changes_earns_part_of_the_score(plays: dict[str, playing.Play], judge: sandbox.LocalJudge) -> None:
    play = plays["clinic"]
    play.start_over()
    play.reply("reschedule_appointment", {"appointment_id": 17, "starts_at": "2026-03-06T09:00:00Z"})
    assert playing.judged(judge, play, "rao-ill", None)["score"] == 0.25


@pytest.mark.parametrize("name", examples.names())
def test_an_sql_verifier_shows_the_change(name: str, plays: dict[str, playing.Play], judge: sandbox.LocalJudge) -> None:
    play = plays[name]
    sources = {task: source for (task, mode), source in play.bundle.verifiers.items() if mode == "sql"}
    assert sources
    for task, source in sources.items():
        solved = play.bundle.task(task)
        assert solved is not None
        play.solve(solved)
        request = sandbox.JudgeRequest(source=source, mode="sql", initial=play.seed, final=play.snapshot())
        evidence = judge.run(request).result
        assert evidence is not None
        assert evidence["before"] != evidence["after"]


@pytest.mark.parametrize(
    ("name", "task", "answer"),
    [
        (
            "library",
            "next-due",
            "Bread Without Hurry has to go back by Thursday, March 5th; Maps of the Night Sky is next.",
        ),
        ("library", "next-due", "Bread Without Hurry, due Mar 5."),
        ("library", "third-renewal", "I couldn't renew it: two renewals are the maximum and it has had both."),
        ("library", "third-renewal", "Sorry, that can't be done: you have used both renewals."),
        ("clinic", "next-visit", "On Thursday 5 March 2026 at 1:30 pm she sees Dr. Caro, and on the 9th Dr. Hale."),
        ("clinic", "next-visit", "Mar 5, 1.30 pm, Dr Caro"),
        ("clinic", "busiest", "**Dr Yusuf Hale** with 135 minutes; Dr Mina Rao comes second."),
        ("clinic", "busiest", "Dr. Hale, with 2 hours and 15 minutes."),
        (
            "clinic",
            "expired-referral",
            "That is not possible, his referral is no longer valid: it ran out in February.",
        ),
        ("clinic", "expired-referral", "Not possible: the referral was only valid until 20 February."),
    ],
)
def test_a_right_answer_counts_however_it_is_put(
    name: str, task: str, answer: str, plays: dict[str, playing.Play], judge: sandbox.LocalJudge
) -> None:
    plays[name].start_over()
    assert playing.judged(judge, plays[name], task, answer)["result"] == "complete"

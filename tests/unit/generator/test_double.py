"""What the model server without a model understands, answers, and lets go wrong."""

import json
from pathlib import Path

import pytest

from awm_fleet import examples
from awm_generator import errors, prompts
from awm_generator.double import faults, jobs, scripts
from awm_generator.model import language
from awm_runtime import errors as runtime_errors
from awm_runtime.bundle import reading


@pytest.fixture(scope="module")
def scripted() -> scripts.Scripts:
    return scripts.Scripts(scripts.load([examples.path(name) for name in examples.names()]))


def sent(messages: tuple[language.Message, ...]) -> list[dict[str, str]]:
    return [{"role": each.role, "content": each.content} for each in messages]


def verifier_prompt(mode: str, number: int) -> list[dict[str, str]]:
    facts = {"schema": "", "rows": ""}
    return sent(prompts.conversation(f"verifier_{mode}", title="Clinic", number=number, task="Do.", **facts))


def test_a_job_is_known_by_its_prompt() -> None:
    job = jobs.recognised(verifier_prompt("code", 7))
    assert (job.kind, job.title, job.number, job.round) == ("verifier_code", "Clinic", 7, 1)


def test_every_prompt_names_its_job() -> None:
    folder = Path(prompts.__file__).parent
    names = {path.stem for path in folder.glob("*.md")} - {"repair", "feedback"}
    assert len(names) == 12
    for name in names:
        assert (folder / f"{name}.md").read_text().startswith(f"AWM job: {name}\n\n")


def test_an_answer_is_the_row_of_the_scenario(scripted: scripts.Scripts) -> None:
    bundle = reading.read(examples.path("clinic"))
    answer = scripted.answer(jobs.recognised(verifier_prompt("code", 2)))
    assert bundle.verifiers[bundle.tasks[2].id, "code"].strip() in answer


def test_a_verifier_that_no_script_has_is_made_up(scripted: scripts.Scripts) -> None:
    assert "def verify_task(" in scripted.answer(jobs.recognised(verifier_prompt("sql", 99)))


def test_a_scenario_without_a_script_is_always_answered_with_the_same_one(scripted: scripts.Scripts) -> None:
    def tables(title: str) -> set[str]:
        job = jobs.recognised(sent(prompts.conversation("db", title=title, brief="", tasks="")))
        return {table["name"] for table in json.loads(scripted.answer(job))["tables"]}

    assert tables("Market Stall") == tables("Market Stall")
    assert {frozenset(tables(f"Stall {number}")) for number in range(20)} == {
        frozenset(tables("Clinic")),
        frozenset(tables("Library")),
    }


def test_the_rest_of_a_cut_reply_is_given(scripted: scripts.Scripts) -> None:
    asked = verifier_prompt("code", 2)
    whole = scripted.answer(jobs.recognised(asked))
    more = [
        {"role": "assistant", "content": whole[:100]},
        {"role": "user", "content": "Your reply was cut off. Go on."},
    ]
    assert scripted.answer(jobs.recognised([*asked, *more])) == whole[100:]


@pytest.mark.parametrize(
    ("text", "fault", "times", "job"),
    [("429", "429", 1, ""), ("500:3", "500", 3, ""), ("slow:2@env", "slow", 2, "env"), ("cut@task", "cut", 1, "task")],
)
def test_a_fault_is_read(text: str, fault: str, times: int, job: str) -> None:
    cue = faults.parsed(text)
    assert (cue.fault, cue.times, cue.job) == (fault, times, job)


@pytest.mark.parametrize("text", ["", "418", "429:0", "429:many"])
def test_a_fault_that_is_none_is_named(text: str) -> None:
    with pytest.raises(errors.GenerationError, match=f"no fault '{text}'"):
        faults.parsed(text)


def test_cues_are_used_up_by_the_requests_that_they_are_for() -> None:
    cues = faults.Cues([faults.Cue(fault="429", job="db", scenario="Rover", times=2, skip=1), faults.Cue(fault="500")])
    taken = [cues.take(job, title, 0) for job, title in [("db", "rover")] * 4 + [("env", "x")]]
    assert [cue.fault if cue else None for cue in taken] == ["500", "429", "429", None, None]


def test_a_folder_with_nothing_to_answer_from_is_named(tmp_path: Path) -> None:
    with pytest.raises(runtime_errors.BundleError, match=r"gen_envs\.jsonl: missing"):
        scripts.load([tmp_path])
    with pytest.raises(errors.GenerationError, match="nothing to answer from"):
        scripts.Scripts({})


def test_prompts_have_a_version_that_their_text_decides() -> None:
    assert prompts.version().startswith("sha256:")
    assert prompts.version() == prompts.version()


def test_a_place_that_is_not_filled_in_is_an_error() -> None:
    with pytest.raises(KeyError, match="title"):
        prompts.conversation("spec", brief="", tasks="", schema="")

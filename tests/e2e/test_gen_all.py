"""`awm gen` against a real server that speaks the API: from seeds to bundles, and what can be in the way."""

import fcntl
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import disks
import doubles
import generating
import pytest

from awm_generator import checking
from awm_generator.awm_files import importing, rows
from awm_runtime.bundle import reading

UNGATED = ("--gate_level", "none")
SMALL = ("--num_tasks", "2", "--target_count", "1", *UNGATED)


@pytest.fixture
def double() -> Iterator[doubles.Double]:
    with doubles.running() as running:
        yield running


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    file = tmp_path / "seeds.txt"
    file.write_text("Clinic\n")
    return file


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, doubles.Double]]:
    """A finished run, and the double that it asked."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "seeds.txt").write_text("Clinic\nLarch Street Library\n")
    with doubles.running() as running:
        words = ("all", "--input", "seeds.txt", "--target_count", "2", "--num_tasks", "3", "--json")
        done = generating.gen(folder, *words, double=running)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["stages"][-1] == {
            "stage": "bundle",
            "done": 2,
            "earlier": 0,
            "left_out": 0,
            "casualties": 0,
        }
        yield folder / "outputs", running


def test_seeds_become_whole_bundles_with_proven_tasks(finished: tuple[Path, doubles.Double]) -> None:
    folder, _ = finished
    for name in ("clinic", "larch_street_library"):
        bundle = reading.read(folder / "bundles" / name)
        assert checking.check(bundle.root) == ()
        assert [task.oracle is not None for task in bundle.tasks] == [True] * 3
        assert {mode for _, mode in bundle.verifiers} == {"code"}
        assert bundle.scenario.tier == "gold"
        assert bundle.scenario.foreign_keys == "on"
        provenance = bundle.scenario.provenance
        assert (provenance.source, provenance.model) == ("awm-generator", "gpt-5")
        assert provenance.prompts is not None
        assert provenance.prompts.startswith("sha256:")


def test_every_file_loads_whole_in_the_importer(finished: tuple[Path, doubles.Double], tmp_path: Path) -> None:
    folder, _ = finished
    found = rows.load(folder)
    assert list(found) == ["clinic", "larch_street_library"]
    for originals in found.values():
        assert not originals.unusable
        imported = importing.import_one(originals, tmp_path)
        assert imported.reason is None
        assert imported.bundle is not None
        assert imported.bundle.scenario.tier == "silver"
        made = reading.read(folder / "bundles" / originals.name)
        for part in ("tasks", "verifiers", "environment", "schema_sql", "seed_sql", "tools"):
            assert getattr(imported.bundle, part) == getattr(made, part), part


def test_the_key_is_nowhere(finished: tuple[Path, doubles.Double]) -> None:
    folder, _ = finished
    holding = [path for path in folder.rglob("*") if path.is_file() and doubles.KEY.encode() in path.read_bytes()]
    assert holding == []
    assert sum(1 for _ in folder.rglob("*.json")) > 20


def test_status_tells_what_is_done(finished: tuple[Path, doubles.Double]) -> None:
    folder, _ = finished
    told = json.loads(generating.gen(folder.parent, "status", "outputs", "--json").stdout)
    assert {each["stage"]: each["done"] for each in told["stages"]} == dict.fromkeys(
        ("scenario", "task", "db", "sample", "spec", "env", "verifier", "oracle", "bundle"), 2
    )
    assert told["spent"]["replies"] == sum(each["spent"]["replies"] for each in told["stages"]) + 1  # embeddings
    assert told["spent"]["cost"] > 0


def test_status_of_a_folder_without_a_run_says_so(tmp_path: Path) -> None:
    done = generating.gen(tmp_path, "status", ".")
    assert done.returncode == 1
    assert "no stage has written here" in done.stderr


def test_azure_makes_the_same_rows(finished: tuple[Path, doubles.Double], tmp_path: Path) -> None:
    folder, double = finished
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in double.azure.items()))
    words = ("task", "--input", str(folder / "gen_scenario.jsonl"), "--num-tasks", "3", "--env-file", ".env")
    done = generating.gen(tmp_path, *words, "--model", "my-deployment")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "outputs" / "gen_tasks.jsonl").read_bytes() == (folder / "gen_tasks.jsonl").read_bytes()
    last = double.stats()["last"]
    assert last["path"] == "/openai/deployments/my-deployment/chat/completions"
    assert last["query"] == {"api-version": "2024-10-21"}
    assert last["key_in"] == "api-key"


def test_a_limit_on_the_cost_stops_and_goes_on(double: doubles.Double, seeds: Path, tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text('["gpt-5"]\ninput = 0\noutput = 1\n')
    words = ("all", "--input", "seeds.txt", *SMALL, "--prices", "prices.toml")
    limit = 0.012
    stopped = generating.gen(tmp_path, *words, "--max_cost", str(limit), double=double)
    assert stopped.returncode == 1
    assert "run the same command with a higher limit to go on" in stopped.stderr
    ledger = [json.loads(line) for line in (tmp_path / "outputs/.awm/ledger.jsonl").read_text().splitlines()]
    costs = [line["cost"] or 0.0 for line in ledger]
    assert sum(costs[:-1]) < limit <= sum(costs)  # the last reply passed it, and no other came after
    done = generating.gen(tmp_path, *words, "--max_cost", "1", double=double)
    assert done.returncode == 0, done.stderr
    assert double.stats()["answered_again"] == 0
    assert (tmp_path / "outputs/bundles/clinic/scenario.json").exists()


@pytest.mark.parametrize("faults", [("429:4", "500:2", "cut:2", "malformed:2", "truncated:6"), ("truncated:3@env",)])
def test_an_endpoint_that_fails_now_and_then_is_no_hindrance(
    faults: tuple[str, ...], seeds: Path, tmp_path: Path
) -> None:
    flags = tuple(word for fault in faults for word in ("--fault", fault))
    with doubles.running(flags=flags) as double:
        done = generating.gen(tmp_path, "all", "--input", "seeds.txt", *SMALL, double=double)
        assert done.returncode == 0, done.stderr
        assert sum(double.stats()["faults"].values()) == sum(int(f.partition(":")[2][0]) for f in faults)


def test_an_endpoint_without_structured_output_or_embeddings_will_do(seeds: Path, tmp_path: Path) -> None:
    with doubles.running(flags=("--structured", "none", "--no-embeddings")) as double:
        done = generating.gen(tmp_path, "all", "--input", "seeds.txt", *SMALL, double=double)
    assert done.returncode == 0, done.stderr
    assert "character n-grams tell near-duplicates instead" in done.stderr


def test_a_reply_that_stays_broken_is_quarantined_and_the_rest_goes_on(double: doubles.Double, tmp_path: Path) -> None:
    (tmp_path / "seeds.txt").write_text("Clinic\nLarch Street Library\n")
    double.cue("reply", job="db", scenario="Clinic", times=50, text='{"tables": []}')
    double.cue("reply", job="verifier_code", number=1, times=1, text="```python\nimport nothing_of_the_kind\n```")
    words = ("all", "--input", "seeds.txt", "--target_count", "2", "--num_tasks", "2", "--max_retry", "2", *UNGATED)
    done = generating.gen(tmp_path, *words, double=double)
    assert done.returncode == 3
    assert "quarantined: db: clinic: 3 replies did not hold; the last: There is no table." in done.stderr
    assert [path.name for path in (tmp_path / "outputs/bundles").iterdir()] == ["larch_street_library"]
    counted = double.stats()
    assert counted["jobs"]["db"] == 3 + 1
    assert any("There is no table." in problem for problem in counted["problems"])
    assert any(
        "nothing_of_the_kind" in problem or "verify_task_completion" in problem for problem in counted["problems"]
    )
    # Started again, what is quarantined stays so, and nothing is asked.
    assert generating.gen(tmp_path, *words, double=double).returncode == 3
    assert double.stats()["replies"] == counted["replies"]
    told = json.loads(generating.gen(tmp_path, "status", "outputs", "--json").stdout)
    [entry] = told["stages"][2]["quarantined"]
    assert (entry["scenario"], entry["detail"].count("There is no table.")) == ("clinic", 3)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--key", "sk-right"), "Incorrect API key"),
        (("--model", "another"), "`gpt-5` does not exist"),
        (("--fault", "quota@task"), "exceeded your current quota"),
    ],
)
def test_a_refusal_is_shown_once_in_the_endpoints_own_words(flags: tuple[str, ...], words: str, tmp_path: Path) -> None:
    lines = [json.dumps({"name": f"Shop {number}", "description": "Sells things."}) for number in range(60)]
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "gen_scenario.jsonl").write_text("\n".join(lines) + "\n")
    with doubles.running(flags=flags) as double:
        done = generating.gen(tmp_path, "task", "--max_concurrency", "8", double=double)
    assert done.returncode == 1
    assert done.stderr.count(words) == 1
    assert doubles.KEY not in done.stderr


def test_without_a_key_a_run_does_not_begin(seeds: Path, tmp_path: Path) -> None:
    done = generating.gen(tmp_path, "all", "--input", "seeds.txt")
    assert done.returncode == 1
    assert "OPENAI_API_KEY is not set" in done.stderr
    assert not (tmp_path / "outputs").exists()


def test_two_runs_on_one_folder_are_one_too_many(double: doubles.Double, seeds: Path, tmp_path: Path) -> None:
    lock = tmp_path / "outputs" / ".awm" / "lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as file:
        file.write("4711\n")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        done = generating.gen(tmp_path, "all", "--input", "seeds.txt", *SMALL, double=double)
    assert done.returncode == 1
    assert "another run works on this folder (process 4711)" in done.stderr
    assert double.stats()["requests"] == 0


def test_an_input_from_another_run_is_refused(finished: tuple[Path, doubles.Double], tmp_path: Path) -> None:
    folder, double = finished
    shutil.copytree(folder, tmp_path / "outputs")
    file = tmp_path / "outputs" / "gen_scenario.jsonl"
    changed = [{**json.loads(line), "description": "Quite another thing."} for line in file.read_text().splitlines()]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in changed))
    before = (tmp_path / "outputs" / "gen_tasks.jsonl").read_bytes()
    done = generating.gen(tmp_path, "task", double=double)
    assert done.returncode == 1
    assert "gen_tasks.jsonl: the row of clinic was made from other input than is given now" in done.stderr
    assert (tmp_path / "outputs" / "gen_tasks.jsonl").read_bytes() == before


def test_a_brief_becomes_one_scenario(double: doubles.Double, tmp_path: Path) -> None:
    (tmp_path / "api.yaml").write_text(
        "openapi: 3.1.0\ninfo: {title: Clinic, description: A clinic.}\n"
        "paths:\n  /visits:\n    get:\n      operationId: list_visits\n      summary: All visits\n"
    )
    done = generating.gen(tmp_path, "all", "--brief", "api.yaml", "--num_tasks", "2", *UNGATED, double=double)
    assert done.returncode == 0, done.stderr
    row = json.loads((tmp_path / "outputs/gen_tasks.jsonl").read_text())
    assert row["scenario"] == "Clinic"
    assert "GET /visits list_visits()" in row["brief"]
    assert (tmp_path / "outputs/bundles/clinic").is_dir()


def test_sql_mode_ends_with_evidence_and_without_oracles(double: doubles.Double, seeds: Path, tmp_path: Path) -> None:
    done = generating.gen(tmp_path, "all", "--input", "seeds.txt", *SMALL, "--verifier_mode", "sql", double=double)
    assert done.returncode == 0, done.stderr
    bundle = reading.read(tmp_path / "outputs/bundles/clinic")
    assert {mode for _, mode in bundle.verifiers} == {"sql"}
    assert (tmp_path / "outputs/gen_verifier.jsonl").exists()


def test_a_quota_that_ends_in_the_middle_keeps_what_is_done(double: doubles.Double, tmp_path: Path) -> None:
    lines = [json.dumps({"name": f"Shop {number}", "description": "Sells things."}) for number in range(5)]
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "gen_scenario.jsonl").write_text("\n".join(lines) + "\n")
    double.cue("quota", job="task", skip=3)
    words = ("task", "--num_tasks", "2", "--max_concurrency", "1")
    stopped = generating.gen(tmp_path, *words, double=double)
    assert stopped.returncode == 1
    assert stopped.stderr.count("exceeded your current quota") == 1
    kept = (tmp_path / "outputs" / "gen_tasks.jsonl").read_text()
    assert kept.count("\n") == 3
    done = generating.gen(tmp_path, *words, double=double)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "outputs" / "gen_tasks.jsonl").read_text().startswith(kept)
    assert double.stats()["jobs"]["task"] == 5 + 1  # the one that was refused
    assert double.stats()["answered_again"] == 0


def test_a_full_disk_stops_a_run_with_its_words(double: doubles.Double, seeds: Path, tmp_path: Path) -> None:
    with disks.full(at_bytes=6000):
        done = generating.gen(tmp_path, "all", "--input", "seeds.txt", *SMALL, double=double)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "cannot be written" in done.stderr
    assert not (tmp_path / "outputs" / "bundles").exists()


def test_seeds_that_are_the_same_or_nameless_are_named(double: doubles.Double, tmp_path: Path) -> None:
    (tmp_path / "seeds.txt").write_text("Clinic\nclinic\n図書館\n")
    words = ("scenario", "--input_path", "seeds.txt", "--target_count", "1")
    done = generating.gen(tmp_path, *words, double=double)
    assert done.returncode == 0, done.stderr
    assert "図書館" in done.stderr
    assert (tmp_path / "outputs" / "gen_scenario.jsonl").read_text().count("\n") == 1

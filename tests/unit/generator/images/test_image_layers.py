"""A bundle's layer: the same bytes everywhere, and a bundle again when it is unpacked."""

import io
import json
import os
import sqlite3
import subprocess
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import bundles
import pytest

from awm_generator.images import compression, errors, layers, model, seeds
from awm_runtime.bundle import database, digest, reading

CODE = "from fastapi import FastAPI\n\napp = FastAPI()\n"


def test_a_copy_made_at_another_time_with_other_rights_gives_the_same_layer(
    copied: Path, layer: layers.ScenarioLayer
) -> None:
    for path in copied.rglob("*"):
        os.utime(path, (1, 1))
        if path.is_file():
            path.chmod(0o600)
    assert layers.build(copied) == layer


def test_what_is_no_part_of_the_identity_makes_no_other_layer(copied: Path, layer: layers.ScenarioLayer) -> None:
    scenario = json.loads((copied / "scenario.json").read_text())
    (copied / "scenario.json").write_text(json.dumps(scenario | {"tier": "bronze"}))
    (copied / "report.json").write_text('{"findings": [], "gates": {"static": "passed"}}')
    (copied / "source").mkdir()
    (copied / "source" / "notes.txt").write_text("an import's original")
    assert layers.build(copied) == layer


def test_another_row_makes_another_layer(copied: Path, layer: layers.ScenarioLayer) -> None:
    seed = (copied / "seed.sql").read_text()
    (copied / "seed.sql").write_text(seed + "UPDATE branches SET name = name || '!';\n")
    changed = layers.build(copied)
    assert (changed.bundle, changed.diff_id) != (layer.bundle, layer.diff_id)


def test_a_fixed_bundle_has_a_known_digest(tmp_path: Path) -> None:
    """What guards against a library that begins to write other bytes: an image's digest is public."""
    seed = "INSERT INTO items VALUES (1, datetime('now', '-3 days')), (2, hex(randomblob(8)));\n"
    made = layers.build(bundles.make(tmp_path / "fixed", CODE, seed=seed, tools=()))
    assert made.bundle == "sha256:5375c27276bbfd3bf3ad873c88934cc8728c008a458d010ecf0ff6874aff8ebf"
    assert made.diff_id == "sha256:f11f8220fa0abb7aca02e1674783a96c9a971845678c437fde23fa749652ddd1"
    assert model.digest_of(made.content) == "sha256:e7d3f32588d9f3bf818ef20c6e30e2ee4c7c5598b2eeca29a42fd538b43ba63a"


def test_another_python_with_another_sqlite_makes_the_same_layers(
    python312: Path, library: Path, layer: layers.ScenarioLayer
) -> None:
    script = "import sys; from pathlib import Path; from awm_generator.images import layers, model; "
    script += "print(model.digest_of(layers.build(Path(sys.argv[1])).content))"
    told = subprocess.run([python312, "-c", script, library], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == model.digest_of(layer.content)


def test_what_is_unpacked_is_the_bundle_again(layer: layers.ScenarioLayer, library: Path, tmp_path: Path) -> None:
    files = layers.unpack(model.Blob.of(layer.content, model.LAYER))
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    assert digest.digest(reading.read(tmp_path / layers.BUNDLE)) == digest.digest(library) == layer.bundle
    [seed] = (tmp_path / layers.SEEDS).iterdir()
    assert seed.name == f"{layer.bundle.removeprefix('sha256:')}.db"
    assert database.state_hash(seed) == layer.seed


def test_all_of_it_belongs_to_root_and_is_from_the_beginning_of_time(layer: layers.ScenarioLayer) -> None:
    plain = b"".join(compression.decompressed([layer.content]))
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        members = archive.getmembers()
    assert {(each.uid, each.gid, each.uname, each.gname, each.mtime) for each in members} == {(0, 0, "", "", 0)}
    assert {each.mode for each in members if each.isfile()} == {0o644}
    assert [each.name for each in members] == sorted(each.name for each in members)


@pytest.mark.parametrize("name", ["clinic", "library"])
def test_the_database_is_what_an_instance_would_build(name: str, library: Path, tmp_path: Path) -> None:
    bundle = reading.read(library.with_name(name))
    database.build(
        bundle.schema_sql, bundle.seed_sql, bundle.clock, tmp_path / "built.db", bundle.scenario.foreign_keys
    )
    assert seeds.state_hash(seeds.build(bundle)) == database.state_hash(tmp_path / "built.db")


@pytest.mark.parametrize(
    ("schema", "seed", "query", "answer"),
    [
        ("CREATE TABLE t (at DEFAULT CURRENT_TIMESTAMP, x);", "INSERT INTO t (x) VALUES (1);",
         "SELECT at FROM t", "2026-02-03 04:05:06"),
        ("CREATE TABLE t (d);", "INSERT INTO t VALUES (date('now', 'start of month'));",
         "SELECT d FROM t", "2026-02-01"),
        ("CREATE VIRTUAL TABLE t USING fts5(x);", "INSERT INTO t VALUES ('a word');",
         "SELECT x FROM t('word')", "a word"),
        ("CREATE TABLE t (x);", "BEGIN IMMEDIATE", None, "not authorized"),
        ("CREATE TABLE t (x);", "INSERT INTO t SELECT y;", None, "seed.sql: statement 1: no such column: y"),
        ("CREATE TABLE t (x);", "ATTACH 'other.db' AS other;", None, "not authorized"),
    ],
)  # fmt: skip
def test_sql_runs_under_the_clock_and_what_fails_is_named(
    tmp_path: Path, schema: str, seed: str, query: str | None, answer: str
) -> None:
    path = bundles.make(
        tmp_path / "one", CODE, schema=schema, seed=seed, tools=(), clock=datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
    )
    if query is None:
        with pytest.raises(errors.ImageError) as raised:
            seeds.build(reading.read(path))
        assert answer in str(raised.value)
        return
    (tmp_path / "seed.db").write_bytes(seeds.build(reading.read(path)))
    connection = sqlite3.connect(tmp_path / "seed.db")
    assert connection.execute(query).fetchone()[0] == answer
    connection.close()


def test_an_empty_database_is_one_too(tmp_path: Path) -> None:
    bundle = reading.read(bundles.make(tmp_path / "empty", CODE, schema="", seed="", tools=()))
    (tmp_path / "empty.db").write_bytes(seeds.build(bundle))
    assert seeds.state_hash(seeds.build(bundle)) == database.state_hash(tmp_path / "empty.db")


@pytest.mark.parametrize(
    "spoil", [lambda data: data[:-9], lambda data: b"no gzip" + data, lambda data: data[:60] + b"\0" * 9 + data[69:]]
)
def test_a_layer_that_is_cut_or_changed_is_corrupt(layer: layers.ScenarioLayer, spoil: object) -> None:
    assert callable(spoil)
    with pytest.raises(errors.ImageError, match="corrupt"):
        layers.unpack(model.Blob.of(spoil(layer.content), model.LAYER))


@pytest.mark.parametrize("name", ["../../etc/cron.d/x", "awm/bundle/../../x", "/awm/bundle/x", "usr/bin/python3"])
def test_a_layer_with_files_elsewhere_is_no_scenarios(name: str) -> None:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    with pytest.raises(errors.ImageError, match="no scenario's"):
        layers.unpack(model.Blob.of(compression.compress(output.getvalue()), model.LAYER))


def test_a_link_in_a_layer_is_not_followed() -> None:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        entry = tarfile.TarInfo("awm/bundle/tasks.jsonl")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(entry)
    with pytest.raises(errors.ImageError, match="no scenario's"):
        layers.unpack(model.Blob.of(compression.compress(output.getvalue()), model.LAYER))

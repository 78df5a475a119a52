"""What a row may hold that is JSON, or nearly, and still not of use: each is refused with its file and line."""

import json
from pathlib import Path

import pytest

from awm_generator.awm_files import rows
from awm_runtime import errors

GOOD = {"scenario": "Pet Shop", "api_spec": {}}


def read(folder: Path, line: bytes, kind: type[rows.Row]) -> list[rows.Row]:
    path = folder / "file.jsonl"
    path.write_bytes(b"\n" + line + b"\n")
    return list(rows.read(path, kind))


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999", "9" * 5000])
def test_a_number_that_json_cannot_carry_on_is_refused(tmp_path: Path, number: str) -> None:
    line = f'{{"scenario": "x", "api_spec": {{"a": {number}}}}}'.encode()
    with pytest.raises(errors.BundleError, match=r"file\.jsonl:2: holds a number that is out of range"):
        read(tmp_path, line, rows.SpecRow)


def test_half_of_a_surrogate_pair_in_bytes_is_no_text(tmp_path: Path) -> None:
    line = json.dumps(GOOD | {"scenario": "x\ud800"}, ensure_ascii=False).encode(errors="surrogatepass")
    with pytest.raises(errors.BundleError, match=r"file\.jsonl:2: not UTF-8 text"):
        read(tmp_path, line, rows.SpecRow)


def test_json_that_could_not_be_written_again_is_refused_for_its_depth(tmp_path: Path) -> None:
    def nested(levels: int) -> bytes:
        return f'{{"scenario": "x", "api_spec": {{"a": {"[" * levels}{"]" * levels}}}}}'.encode()

    assert read(tmp_path, nested(98), rows.SpecRow)
    with pytest.raises(errors.BundleError, match=r"file\.jsonl:2: JSON nested too deeply"):
        read(tmp_path, nested(99), rows.SpecRow)


def test_a_name_too_long_for_a_folder_is_refused(tmp_path: Path) -> None:
    line = json.dumps(GOOD | {"scenario": "x" * 201}).encode()
    with pytest.raises(errors.BundleError, match=r"file\.jsonl:2: scenario: 201 characters; 200 is the most"):
        read(tmp_path, line, rows.SpecRow)


def test_a_task_number_too_long_for_a_file_name_is_refused(tmp_path: Path) -> None:
    line = json.dumps({"scenario": "x", "task_idx": 10**80}).encode()
    with pytest.raises(errors.BundleError, match=r"file\.jsonl:2: task_idx: "):
        read(tmp_path, line, rows.VerifierRow)


def test_a_file_that_is_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.BundleError, match=r"cannot be read: Is a directory"):
        list(rows.read(tmp_path, rows.SpecRow))


@pytest.mark.parametrize(
    ("file", "row", "complaint"),
    [
        ("gen_spec.jsonl", {"api_spec": []}, "api_spec: "),
        ("gen_tasks.jsonl", {}, "tasks: Field required"),
        ("gen_verifier.jsonl", {"task_idx": "first"}, "task_idx: "),
    ],
)
def test_a_row_of_another_shape_is_kept_as_unusable_beside_the_others(
    tmp_path: Path, file: str, row: dict[str, object], complaint: str
) -> None:
    good = tmp_path / "gen_envs.jsonl"
    good.write_text(json.dumps({"scenario": "Zoo", "full_code": ""}), encoding="utf-8")
    bad = tmp_path / file
    bad.write_text(json.dumps({"scenario": "Zoo", **row}), encoding="utf-8")
    zoo = rows.join({"gen_envs.jsonl": good, file: bad})["zoo"]
    [(where, why)] = zoo.unusable
    assert where == file
    assert why.startswith(f"line 1: {complaint}")
    assert list(zoo.single) == ["gen_envs.jsonl"]
    assert zoo.exists


def test_a_byte_order_mark_and_windows_line_ends_are_no_part_of_a_row(tmp_path: Path) -> None:
    path = tmp_path / "file.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r\n\r\n" + json.dumps(GOOD).encode() + b"\r\n")
    assert [row.scenario for row in rows.read(path, rows.SpecRow)] == ["Pet Shop", "Pet Shop"]

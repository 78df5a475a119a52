"""What a person types for an image, and what scenarios are called as images."""

from pathlib import Path

import pytest
import strategies
from hypothesis import given

from awm_generator.images import errors, outputs, references

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "kind", "place", "name"),
    [
        ("oci:images", "oci", "images", None),
        ("oci:images:rover:3", "oci", "images", "rover:3"),
        ("archive:/x/y.tar", "archive", "/x/y.tar", None),
        ("archive:y.tar:awm/rover:3", "archive", "y.tar", "awm/rover:3"),
        ("docker:", "docker", "", None),
        ("docker:awm/rover:3", "docker", "awm/rover:3", None),
        ("registry:h.example/awm", "registry", "h.example/awm", None),
        ("registry:h.example:5000/a/b:3", "registry", "h.example:5000/a/b", "3"),
        (f"registry:[::1]:5000/a/b--0f:3@{DIGEST}", "registry", "[::1]:5000/a/b--0f", DIGEST),
    ],
)
def test_a_reference_is_read(text: str, kind: str, place: str, name: str | None) -> None:
    found = references.parse(text)
    assert (found.kind, found.place, found.name) == (kind, place, name)


@pytest.mark.parametrize("text", ["oci:images:rover:3", f"registry:h/a@{DIGEST}", "registry:h/a:3", "docker:x:1"])
def test_a_reference_is_written_as_it_was_read(text: str) -> None:
    assert str(references.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["rover:3", "h.example/awm/rover", "https://h/a", "oci:", "registry:host", "registry:h/Upper", "registry:h/a:b:c"],
)
def test_what_says_no_place_is_answered_with_the_forms(text: str) -> None:
    with pytest.raises(errors.ImageError, match="registry:HOST/REPOSITORY"):
        references.parse(text)


def test_a_folder_with_a_colon_in_its_name_is_found(tmp_path: Path) -> None:
    (tmp_path / "a:b").mkdir()
    assert references.parse(f"oci:{tmp_path}/a:b").place == f"{tmp_path}/a:b"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost:5000", True),
        ("127.0.0.1", True),
        ("[::1]:5", True),
        ("localhost.example", False),
        ("10.0.0.1", False),
    ],
)
def test_only_this_machine_is_spoken_to_without_tls(host: str, expected: bool) -> None:
    assert references.is_loopback(host) is expected


@given(name=strategies.names)
def test_every_scenario_has_a_valid_image_name(name: str) -> None:
    repository, _, tag = outputs.tagged("awm", name, 3).partition(":")
    assert references.parse(f"registry:h.example/{repository}:{tag}").repository == repository


@pytest.mark.parametrize("name", ["a_" * 99 + "a", "_", "-", "0", "x__y"])
def test_names_that_are_no_image_names_get_one(name: str) -> None:
    repository, _, tag = outputs.tagged("awm", name, 1).partition(":")
    assert references.parse(f"registry:h.example/{repository}:{tag}").name == "1"

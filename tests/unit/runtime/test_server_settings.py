"""Every setting of an instance is read from its variable, documented, and refused where it makes no sense."""

import dataclasses
import math
import runpy
from pathlib import Path

import pytest

from awm_runtime import errors
from awm_runtime.server import __main__ as server
from awm_runtime.server import settings

DOCS = Path(__file__).resolve().parents[3] / "docs"
FIELDS = dataclasses.fields(settings.Settings)


def test_the_configuration_page_has_exactly_the_settings() -> None:
    page = (DOCS / "configuration.md").read_text(encoding="utf-8")
    generate = runpy.run_path(str(DOCS / "generate_configuration.py"))["page"]
    assert page == generate(page), "run docs/generate_configuration.py"
    assert all(f"| `AWM_{each.name.upper()}` |" in page for each in FIELDS)


def test_variables_that_the_page_speaks_of_exist() -> None:
    words = (DOCS / "configuration.md").read_text(encoding="utf-8").replace("`", " ").split()
    named = {variable for variable in vars(server).values() if str(variable).startswith("AWM_")}
    known = {f"AWM_{each.name.upper()}" for each in FIELDS} | named
    written = {word for word in words if word.startswith("AWM_") and not word.startswith("AWM_ROUTER_")}
    assert written == known


def test_every_setting_has_a_unit_and_a_meaning_that_is_a_sentence() -> None:
    for each in FIELDS:
        assert each.metadata["unit"], each.name
        assert each.metadata["meaning"].endswith("."), each.name


@pytest.mark.parametrize("name", [each.name for each in FIELDS])
def test_a_setting_is_read_from_its_variable_and_keeps_its_kind(name: str) -> None:
    default = getattr(settings.Settings(), name)
    read = settings.Settings.from_environment({f"AWM_{name.upper()}": "7", "UNRELATED": "x"})
    assert read == dataclasses.replace(settings.Settings(), **{name: 7})
    assert type(getattr(read, name)) is type(default)


@pytest.mark.parametrize("value", ["", "many", "0", "-1", "nan", "inf", "1e300", "2e9"])
def test_a_duration_that_makes_no_sense_is_refused_by_name(value: str) -> None:
    with pytest.raises(errors.PermanentError, match="AWM_CALL_DEADLINE_S must be a positive number of seconds"):
        settings.Settings.from_environment({"AWM_CALL_DEADLINE_S": value})


@pytest.mark.parametrize("value", ["", "1.5", "0", "-1", "nan", str(2**63)])
def test_a_number_that_makes_no_sense_is_refused_by_name(value: str) -> None:
    with pytest.raises(errors.PermanentError, match="AWM_EPISODES must be a positive number of episodes"):
        settings.Settings.from_environment({"AWM_EPISODES": value})


def test_defaults_are_within_what_can_be_set() -> None:
    variables = {f"AWM_{each.name.upper()}": repr(each.default) for each in FIELDS}
    assert settings.Settings.from_environment(variables) == settings.Settings()
    assert all(math.isfinite(each.default) for each in FIELDS)

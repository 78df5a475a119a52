"""Every setting of a router is read from its variable, documented, and refused where it makes no sense."""

import dataclasses
from pathlib import Path

import pytest

from awm_registry.router import settings
from awm_runtime import errors

PAGE = Path(__file__).resolve().parents[3] / "docs" / "configuration.md"
FIELDS = dataclasses.fields(settings.Settings)


def test_the_configuration_page_has_exactly_the_settings() -> None:
    words = PAGE.read_text(encoding="utf-8").replace("`", " ").split()
    written = {word for word in words if word.startswith(settings.PREFIX)}
    assert written == {f"{settings.PREFIX}{each.name.upper()}" for each in FIELDS}


@pytest.mark.parametrize("name", [each.name for each in FIELDS])
def test_a_setting_is_read_from_its_variable_and_keeps_its_kind(name: str) -> None:
    read = settings.Settings.from_environment({f"AWM_ROUTER_{name.upper()}": "7", f"AWM_{name.upper()}": "8"})
    assert read == dataclasses.replace(settings.Settings(), **{name: 7})
    assert type(getattr(read, name)) is type(getattr(settings.Settings(), name))


def test_a_value_that_makes_no_sense_is_refused_by_name() -> None:
    with pytest.raises(errors.PermanentError, match="AWM_ROUTER_WAITING must be a positive number of requests"):
        settings.Settings.from_environment({"AWM_ROUTER_WAITING": "many"})

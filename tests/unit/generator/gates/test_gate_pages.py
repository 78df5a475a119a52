"""Every gate says what it is about, and the page about gates says what they say."""

import pkgutil
import runpy
from collections import Counter
from pathlib import Path

import pytest

from awm_generator.gates import protocol, registry, runtime, semantic, static

DOCS = Path(__file__).resolve().parents[4] / "docs"
PACKAGES = {"static": static, "runtime": runtime, "semantic": semantic}


def test_the_page_about_gates_is_what_they_say() -> None:
    page = runpy.run_path(str(DOCS / "generate_gates.py"))["page"]()
    assert (DOCS / "gates.md").read_text(encoding="utf-8") == page, "run docs/generate_gates.py"


@pytest.mark.parametrize("level", protocol.LEVELS)
def test_every_module_of_a_level_is_one_gate(level: protocol.Level) -> None:
    modules = {name.replace("_", "-") for _, name, _ in pkgutil.iter_modules(PACKAGES[level].__path__)}
    assert {gate.id.removeprefix(f"{level}.") for gate in registry.of(level)} == modules


def test_ids_are_unique_and_in_the_order_of_the_levels() -> None:
    assert set(Counter(gate.id for gate in registry.GATES).values()) == {1}
    assert [gate.level for gate in registry.GATES] == sorted(
        (gate.level for gate in registry.GATES), key=protocol.LEVELS.index
    )


@pytest.mark.parametrize("gate", registry.GATES, ids=lambda gate: gate.id)
def test_a_gate_says_what_must_hold_and_how_to_mend_it(gate: protocol.AnyGate) -> None:
    assert gate.checks.endswith((".", ").")) or gate.checks.endswith("nothing.")
    assert gate.mend.endswith(".")
    assert gate.example
    assert "\n" not in gate.example


def test_a_counterexample_keeps_to_its_room_and_short_parts_stay_whole() -> None:
    clipped = protocol.clipped({"request": "get_me {}", "reply": "x" * 9000, "trace": "y" * 9000})
    assert clipped["request"] == "get_me {}"
    assert clipped["reply"].endswith(" …")
    assert 1500 < sum(len(name) + len(text) for name, text in clipped.items()) <= protocol.EVIDENCE_CHARACTERS


def test_a_message_has_all_that_a_model_needs() -> None:
    gate = registry.named("runtime.missing-rows")
    defect = gate.defect(protocol.Found("get_pet", "it answered 200", {"request": "get_pet {}", "reply": "200 null"}))
    assert defect.message() == "runtime.missing-rows: get_pet: it answered 200\nrequest: get_pet {}\nreply: 200 null"


def test_the_version_of_the_gates_is_a_hash_of_their_code() -> None:
    assert len(protocol.version()) == 12
    assert protocol.version() == protocol.version()

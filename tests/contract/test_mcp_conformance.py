"""MCP's official conformance suite against a served instance, at the newest version of each era.

The whole suite runs once per version; each test reads one scenario's checks. A scenario is either run here or listed
with the reason why a server of plain tools has no part in it, and so is each check.
"""

import json
import os
import pathlib
import shutil
import subprocess
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

SUITE = "@modelcontextprotocol/conformance@0.2.0-alpha.12"
NODE = "node@24"
"""Brings its own binary: the suite needs 22 or newer, Debian has 20."""

VERSIONS = ("2025-11-25", "2026-07-28")

RUN = [
    ("server-initialize", "2025-11-25"),
    ("ping", "2025-11-25"),
    ("server-stateless", "2026-07-28"),
    ("http-header-validation", "2026-07-28"),
    ("caching", "2026-07-28"),
    ("input-required-result-unsupported-methods", "2026-07-28"),
    *(
        (scenario, version)
        for version in VERSIONS
        for scenario in (
            "tools-list",
            "tools-call-simple-text",
            "tools-call-error",
            "json-schema-2020-12",
            "dns-rebinding-protection",
        )
    ),
]

NO_PART = {
    "server-stateless": {
        "sep-2575-server-rejects-undeclared-capability": "needs a tool that uses the client's model",
        "sep-2575-missing-capability-http-400": "the same",
    },
    "caching": {
        "sep-2549-prompts-list-caching-hints": "no prompts are offered",
        "sep-2549-resources-list-caching-hints": "no resources are offered",
        "sep-2549-resources-templates-list-caching-hints": "no resource templates are offered",
    },
}
"""Checks of scenarios that are run, which fail because they are about something that is not offered."""

_TEXT_ONLY = "a scenario's tools answer with JSON as text"
_NOTHING_STREAMED = "a reply is one JSON document: nothing is streamed before or beside it"
_NO_SESSION = "no session id is handed out: an episode is named by its URL"
_ASKS_NOTHING = "a scenario's tools ask nothing of the client"
_NO_PROMPTS = "no prompts are offered"
_NO_RESOURCES = "no resources are offered"
_NO_COMPLETION = "no completion is offered: there are neither prompts nor resource templates"
_NO_ARGUMENT_HEADERS = "no tool's schema asks for its arguments in headers"
_EXTENSION = "an extension that is not offered"

LISTED = {
    "server-session-lifecycle": _NO_SESSION,
    "server-sse-polling": _NOTHING_STREAMED,
    "server-sse-multiple-streams": _NOTHING_STREAMED,
    "logging-set-level": "no logging is offered: what an instance logs is not for agents",
    "completion-complete": _NO_COMPLETION,
    "tools-call-image": _TEXT_ONLY,
    "tools-call-audio": _TEXT_ONLY,
    "tools-call-embedded-resource": _TEXT_ONLY,
    "tools-call-mixed-content": _TEXT_ONLY,
    "tools-call-with-logging": _NOTHING_STREAMED,
    "tools-call-with-progress": _NOTHING_STREAMED,
    "tools-call-sampling": _ASKS_NOTHING,
    "tools-call-elicitation": _ASKS_NOTHING,
    "elicitation-sep1034-defaults": _ASKS_NOTHING,
    "elicitation-sep1330-enums": _ASKS_NOTHING,
    "resources-list": _NO_RESOURCES,
    "resources-read-text": _NO_RESOURCES,
    "resources-read-binary": _NO_RESOURCES,
    "resources-templates-read": _NO_RESOURCES,
    "resources-subscribe": _NO_RESOURCES,
    "resources-unsubscribe": _NO_RESOURCES,
    "sep-2164-resource-not-found": _NO_RESOURCES,
    "prompts-list": _NO_PROMPTS,
    "prompts-get-simple": _NO_PROMPTS,
    "prompts-get-with-args": _NO_PROMPTS,
    "prompts-get-embedded-resource": _NO_PROMPTS,
    "prompts-get-with-image": _NO_PROMPTS,
    "http-custom-header-server-validation": _NO_ARGUMENT_HEADERS,
    "input-required-result-basic-elicitation": _ASKS_NOTHING,
    "input-required-result-basic-sampling": _ASKS_NOTHING,
    "input-required-result-basic-list-roots": _ASKS_NOTHING,
    "input-required-result-request-state": _ASKS_NOTHING,
    "input-required-result-multiple-input-requests": _ASKS_NOTHING,
    "input-required-result-multi-round": _ASKS_NOTHING,
    "input-required-result-missing-input-response": _ASKS_NOTHING,
    "input-required-result-non-tool-request": _NO_PROMPTS,
    "input-required-result-result-type": _ASKS_NOTHING,
    "input-required-result-tampered-state": _ASKS_NOTHING,
    "input-required-result-capability-check": _ASKS_NOTHING,
    "input-required-result-ignore-extra-params": _ASKS_NOTHING,
    "input-required-result-validate-input": _ASKS_NOTHING,
    "sep-2640-skills-directory": _EXTENSION,
    "sep-2640-skills-enumeration": _EXTENSION,
    "sep-2640-skills-manifest": _EXTENSION,
    "tasks-lifecycle": _EXTENSION,
    "tasks-capability-negotiation": _EXTENSION,
    "tasks-wire-fields": _EXTENSION,
    "tasks-request-state-removal": _EXTENSION,
    "tasks-mrtr-input": _EXTENSION,
    "tasks-request-headers": _EXTENSION,
    "tasks-dispatch-and-envelope": _EXTENSION,
    "tasks-status-notifications": _EXTENSION,
    "tasks-required-task-error": _EXTENSION,
    "tasks-mrtr-composition": _EXTENSION,
}

Checks = dict[tuple[str, str], list[dict[str, Any]]]
Suite = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def suite(cache_folder: pathlib.Path, missing: Callable[[str, str], NoReturn]) -> Suite:
    """Runs the suite's command, installed with npm on first use."""
    folder = cache_folder / "mcp-conformance-0.2.0-alpha.12"
    complete = folder / "complete"
    if not complete.exists():
        if shutil.which("npm") is None:
            missing("node", "no npm to install MCP's conformance suite with")
        install = ["npm", "install", "--no-audit", "--no-fund", "--prefix", folder, SUITE, NODE]
        variables = os.environ | {"npm_config_cache": str(cache_folder / "npm")}  # not ~/.npm
        installed = subprocess.run(install, env=variables, capture_output=True, text=True, timeout=240)
        if installed.returncode:
            missing("node", f"MCP's conformance suite cannot be installed: {installed.stderr}")
        complete.touch()
    modules = folder / "node_modules"
    command = [modules / "node" / "bin" / "node", modules / ".bin" / "conformance"]

    def run(*arguments: str | pathlib.Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=240)

    return run


@pytest.fixture(scope="session")
def played(suite: Suite, mcp_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Checks:
    """The checks of every scenario that the suite played, by scenario and version."""
    checks = {}
    for version in VERSIONS:
        out = tmp_path_factory.mktemp("conformance")
        suite("server", "--url", mcp_server.default, "--suite", "all", "--spec-version", version, "-o", out)
        for scenario in (name for name, at in RUN if at == version):
            # Folders are named server-<scenario>-<time>; a scenario's name may begin another's.
            (folder,) = out.glob(f"server-{scenario}-[0-9][0-9][0-9][0-9]-*")
            checks[scenario, version] = json.loads((folder / "checks.json").read_text())
    return checks


@pytest.mark.parametrize(("scenario", "version"), RUN)
def test_scenario_passes(scenario: str, version: str, played: Checks) -> None:
    checks = played[scenario, version]
    failed = {check["id"]: check.get("errorMessage") for check in checks if check["status"] == "FAILURE"}
    assert failed.keys() == NO_PART.get(scenario, {}).keys(), failed
    assert [check for check in checks if check["status"] == "SUCCESS"]


def test_every_scenario_of_the_suite_is_run_or_listed(suite: Suite) -> None:
    told = suite("list", "--server").stdout.splitlines()
    known = {words[1] for words in map(str.split, told) if words[:1] == ["-"]}
    run = {scenario for scenario, _ in RUN}
    assert known == run | LISTED.keys()
    assert not run & LISTED.keys()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_scenario_that_is_run_is_run_at_every_version_it_has(suite: Suite, version: str) -> None:
    told = suite("list", "--server").stdout.splitlines()
    known = {words[1] for words in map(str.split, told) if words[:1] == ["-"] and version in words[2]}
    assert {scenario for scenario, _ in RUN} & known == {scenario for scenario, at in RUN if at == version}

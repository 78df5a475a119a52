"""The rules of the repository itself."""

import importlib.util
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOP_LEVEL = {
    ".ci", ".gitignore", "CHANGELOG.md", "LICENSE", "Makefile", "README.md", "docs", "fleet", "generator", "helm",
    "images", "pyproject.toml", "registry", "tests", "uv.lock",
}  # fmt: skip
MEMBERS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["uv"]["workspace"]["members"]
LONGEST_MODULE = 500

# A letter in brackets keeps a pattern from finding itself in this file.
UNWANTED = {
    "a path of one machine": r"/(?:w)ork/(?:main|shared)|/(?:r)oot/|/(?:t)mp/scratch|/(?:h)ome/\w+/",
    "the host of a registry": r"[p]ypi\.org|[p]ythonhosted\.org|[n]pmjs\.org|[d]ocker\.io/|[g]hcr\.io|[q]uay\.io",
    "a remark about authorship": r"(?i)[c]o-authored-by|[c]laude|[c]hatgpt|[c]opilot|[a]uthored by|by an? [a]i\b",
}


def tracked() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in listing.split("\0") if name and (path := ROOT / name).is_file()]


def texts() -> dict[str, str]:
    found = {}
    for path in tracked():
        if path.name == "uv.lock":
            continue
        try:
            found[str(path.relative_to(ROOT))] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
    return found


def targets() -> set[str]:
    """The targets that `make help` lists."""
    listing = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {line.split()[0] for line in listing.splitlines()}


def test_the_top_level_holds_only_the_known_rooms() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in tracked()} <= TOP_LEVEL


def test_the_readme_leads_to_every_page() -> None:
    linked = set(re.findall(r"\]\(docs/([\w-]+\.md)\)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert linked == {path.name for path in (ROOT / "docs").glob("*.md")}


@pytest.mark.parametrize("what", UNWANTED)
def test_no_file_carries(what: str) -> None:
    pattern = re.compile(UNWANTED[what])
    found = [
        f"{name}:{number} {line.strip()}"
        for name, text in texts().items()
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("member", MEMBERS)
def test_every_member_has_a_readme_with_its_name(member: str) -> None:
    project = tomllib.loads((ROOT / member / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (ROOT / member / "README.md").read_text(encoding="utf-8").startswith(f"# {project['name']}\n")


def test_every_link_in_a_page_leads_somewhere() -> None:
    broken = [
        f"{name} -> {link}"
        for name, text in texts().items()
        if name.endswith(".md")
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)|src=\"([^\"]+)\"", text)
        for link in [next(filter(None, link))]
        if not link.startswith(("http://", "https://")) and not (ROOT / name).parent.joinpath(link).exists()
    ]
    assert broken == []


def test_every_module_that_a_page_names_exists() -> None:
    named = {
        f"{package}.{module}"
        for name, text in texts().items()
        if name.endswith(".md")
        for package, listed in re.findall(r"`(awm_[a-z_.]*[a-z_])(?<!\.jsonl)(?:\.\{([a-z_,]+)\})?`", text)
        for module in (listed.split(",") if listed else [""])
    }
    assert named
    assert [module for module in sorted(named) if importlib.util.find_spec(module.rstrip(".")) is None] == []


def test_every_make_target_is_listed_by_help() -> None:
    phony = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert phony
    assert targets() == set(" ".join(phony).split())


def test_every_make_target_that_a_page_names_exists() -> None:
    named = {
        target
        for name, text in texts().items()
        if name.endswith(".md")
        for target in re.findall(r"(?:`|^)make ([a-z][a-z0-9-]*)", text, re.MULTILINE)
    }
    assert named
    assert named <= targets()


def test_every_decision_has_the_four_parts() -> None:
    parts = ["## Context", "## Decision", "## Consequences", "## Alternatives"]
    decisions = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
    assert decisions
    assert [path.name for path in decisions if re.findall(r"^## .*$", path.read_text(), re.MULTILINE) != parts] == []
    assert [int(path.name[:4]) for path in decisions] == list(range(1, len(decisions) + 1))


def test_no_module_outgrows_a_screenful_of_screens() -> None:
    long = {
        name: lines
        for name, text in texts().items()
        if name.endswith(".py") and "/examples/" not in name and (lines := text.count("\n")) > LONGEST_MODULE
    }
    assert long == {}

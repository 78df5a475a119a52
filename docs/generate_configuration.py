"""Writes the tables of `docs/configuration.md` from the settings of the environment server and of the router.

`.venv/bin/python docs/generate_configuration.py`
"""

import dataclasses
from pathlib import Path

from awm_registry.router import settings as router
from awm_runtime.server import settings as instance

PAGE = Path(__file__).with_name("configuration.md")
TABLES = {"instance": (instance.Settings, instance.PREFIX), "router": (router.Settings, router.PREFIX)}


def page(text: str) -> str:
    """The page with its tables as they should be."""
    for name, (kind, prefix) in TABLES.items():
        begin, end = f"<!-- settings of the {name}: made by docs/generate_configuration.py -->\n", "<!-- end -->\n"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}{table(kind, prefix)}{end}{after}"
    return text


def table(kind: type, prefix: str) -> str:
    """Each setting with its default, unit and meaning."""
    rows = ["| variable | default | unit | meaning |", "| --- | ---: | --- | --- |"]
    for each in dataclasses.fields(kind):
        variable = f"`{prefix}{each.name.upper()}`"
        rows.append(f"| {variable} | {each.default:,.10g} | {each.metadata['unit']} | {each.metadata['meaning']} |")
    return "".join(f"{row}\n" for row in rows)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

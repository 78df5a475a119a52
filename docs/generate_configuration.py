"""Writes the table of `docs/configuration.md` from the settings of the environment server.

`.venv/bin/python docs/generate_configuration.py`
"""

import dataclasses
from pathlib import Path

from awm_runtime.server import settings

PAGE = Path(__file__).with_name("configuration.md")
BEGIN, END = "<!-- settings: made by docs/generate_configuration.py -->\n", "<!-- end of settings -->\n"


def page(text: str) -> str:
    """The page with its table as it should be."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table()}{END}{after}"


def table() -> str:
    """Each setting with its default, unit and meaning."""
    rows = ["| variable | default | unit | meaning |", "| --- | ---: | --- | --- |"]
    for each in dataclasses.fields(settings.Settings):
        variable = f"`{settings.PREFIX}{each.name.upper()}`"
        rows.append(f"| {variable} | {each.default:,.10g} | {each.metadata['unit']} | {each.metadata['meaning']} |")
    return "".join(f"{row}\n" for row in rows)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

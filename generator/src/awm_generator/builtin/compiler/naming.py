"""A scenario's style, and the names and paths of its tools in it."""

import random
from collections.abc import Mapping

from awm_generator.builtin import language
from awm_generator.builtin.compiler.worlds import Kind, Style, Tool
from awm_runtime.server import tools as served

_VERBS: dict[str, tuple[str, ...]] = {
    "list": ("list", "find", "search", "browse"),
    "get": ("get", "show", "view", "read"),
    "create": ("create", "add", "new"),
    "update": ("update", "edit", "change"),
    "delete": ("delete", "remove"),
    "summary": ("summarise", "count", "report"),
    "me": ("get_me", "get_my_profile", "who_am_i", "show_my_record"),
}
_PREFIXES = ("/api", "/api/v1", "/v1", "/api/v2", "")


def style(rng: random.Random) -> Style:
    """A style by chance."""
    return Style(
        prefix=rng.choice(_PREFIXES),
        kebab=rng.random() < 0.6,
        verbs={kind: rng.choice(words) for kind, words in _VERBS.items()},
        items=rng.choice(("items", "results", "entries")),
        offset=rng.random() < 0.4,
        update_method=rng.choice(("PATCH", "PATCH", "PUT")),
        mine=rng.random() < 0.7,
    )


def tools(entities: Mapping[str, language.Entity], user: str, chosen: Style) -> tuple[Tool, ...]:
    """The tools of a world in the order of its routes: literal paths before those with parameters."""
    made = [Tool("me", chosen.verbs["me"], "GET", f"{chosen.prefix}/me", user)]
    for entity, spec in entities.items():
        made += _of(entity, spec, chosen)
    return tuple(made)


def _of(entity: str, spec: language.Entity, chosen: Style) -> list[Tool]:
    mine = "my_" if chosen.mine and spec.owner and not spec.user else ""
    base = f"{chosen.prefix}/{_segment(spec.plural, chosen)}"
    one = f"{base}/{{{entity}_id}}"
    verbs, offered = chosen.verbs, set(spec.tools)
    found: list[Tool] = []

    def tool(kind: Kind, name: str, method: str, path: str, action: str = "") -> None:
        free = name.replace("_", "_the_", 1) if name in served.RESERVED_NAMES else name
        found.append(Tool(kind, free, method, path, entity, action))

    if "list" in offered:
        tool("list", f"{verbs['list']}_{mine}{spec.plural}", "GET", base)
    if "summary" in offered:
        tool(
            "summary",
            f"{verbs['summary']}_{mine}{spec.plural}{'_by' if verbs['summary'] == 'count' else ''}",
            "GET",
            f"{base}/summary",
        )
    if spec.create and "create" in offered:
        tool("create", f"{spec.create.verb or verbs['create']}_{entity}", "POST", base)
    for name, action in spec.actions.items():
        if action.bulk:
            tool("bulk", f"{name}_several_{spec.plural}", "POST", f"{base}/{_segment(name, chosen)}", name)
    if "get" in offered:
        tool("get", f"{verbs['get']}_{entity}", "GET", one)
    if spec.user and "update" in offered:
        tool("update", f"{verbs['update']}_my_{entity}", chosen.update_method, f"{chosen.prefix}/me")
    elif "update" in offered and any(field.edit for field in spec.fields.values()):
        tool("update", f"{verbs['update']}_{entity}", chosen.update_method, one)
    if "delete" in offered:
        tool("delete", f"{verbs['delete']}_{entity}", "DELETE", one)
    for name in spec.actions:
        tool("action", f"{name}_{entity}", "POST", f"{one}/{_segment(name, chosen)}", name)
    return found


def _segment(name: str, chosen: Style) -> str:
    return name.replace("_", "-") if chosen.kebab else name

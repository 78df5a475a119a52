"""Whether what is live is what was applied."""

from collections.abc import Mapping, Sequence
from typing import Any


def differs(wanted: Any, live: Any) -> bool:
    """Whether a field of `wanted` is missing or other in `live`.

    What the API server or others added beside it is none of ours: further fields, and further items of a list whose
    items have names.
    """
    if isinstance(wanted, Mapping):
        return not isinstance(live, Mapping) or any(differs(value, live.get(name)) for name, value in wanted.items())
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return not isinstance(live, Sequence) or _items_differ(wanted, live)
    return bool(wanted != live)


def _items_differ(wanted: Sequence[Any], live: Sequence[Any]) -> bool:
    if wanted and all(isinstance(each, Mapping) and "name" in each for each in wanted):
        named = {each.get("name"): each for each in live if isinstance(each, Mapping)}
        return any(differs(each, named.get(each["name"])) for each in wanted)
    return len(wanted) != len(live) or any(differs(*pair) for pair in zip(wanted, live, strict=True))

"""The tool list leaves an agent room to work."""

import math
from collections.abc import Iterator

import orjson

from awm_generator.gates import protocol, subjects

CHARACTERS_PER_TOKEN = 3.6
"""Of JSON with English words in it, as the byte-pair encodings of current models have it, within about a tenth."""
MOST = 16_000
_LARGEST_SHOWN = 5


def estimate(tools: object) -> int:
    """About how many tokens a tool list takes in a prompt."""
    return math.ceil(len(orjson.dumps(tools).decode()) / CHARACTERS_PER_TOKEN)


def find(subject: subjects.Subject) -> Iterator[protocol.Found]:
    """A defect where the list takes more than it should."""
    tokens = estimate(subject.bundle.tools)
    if tokens > MOST:
        sizes = sorted(((estimate(tool), tool["name"]) for tool in subject.bundle.tools), reverse=True)
        largest = ", ".join(f"{name} {size:,}" for size, name in sizes[:_LARGEST_SHOWN])
        yield protocol.Found("tools.json", f"about {tokens:,} tokens, over {MOST:,}", {"largest": largest})


GATE = protocol.Gate(
    id="static.tool-tokens",
    severity="warn",
    checks=f"The tool list takes at most about {MOST:,} tokens (bytes of JSON / {CHARACTERS_PER_TOKEN}).",
    example="tools.json: about 21,400 tokens, over 16,000",
    mend="Shorten descriptions, leave out tools that no task needs, do not repeat what the schema says.",
    find=find,
)

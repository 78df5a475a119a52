"""The light client: episodes for trainers and evaluations. Needs httpx and pydantic only.

`Fleet` (async) and `SyncFleet` open episodes on a router or on one instance, keep them alive and close them.
`ControlClient` and `ToolClient` are the routes and the MCP URL by themselves, for programs that hold ids and URLs.

```python
async with client.Fleet("http://127.0.0.1:8080") as fleet:
    async with await fleet.open("library", task="rain-hold") as episode:
        reply = await episode.call("search_titles", {"q": "Fourteen Days of Rain"})
        verdict = await episode.verify("You are in the queue.")
```
"""

from awm_registry.client.batches import Item, Refusal
from awm_registry.client.control import ControlClient
from awm_registry.client.episodes import Episode
from awm_registry.client.fleet import Batch, Fleet
from awm_registry.client.messages import Reply
from awm_registry.client.sync import SyncBatch, SyncEpisode, SyncFleet
from awm_registry.client.tools import ToolClient
from awm_registry.errors import CapacityError, UnknownScenario, Unreachable

__all__ = [
    "Batch",
    "CapacityError",
    "ControlClient",
    "Episode",
    "Fleet",
    "Item",
    "Refusal",
    "Reply",
    "SyncBatch",
    "SyncEpisode",
    "SyncFleet",
    "ToolClient",
    "UnknownScenario",
    "Unreachable",
]

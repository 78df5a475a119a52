"""The light client: a control plane's episodes, and an episode's tools. Needs httpx and pydantic only.

```python
with client.ControlClient("http://127.0.0.1:8002") as control:
    [episode] = control.open(task="1")
    with client.ToolClient(episode.mcp_url) as tools:
        tools.call("search_books", {"title": "Dune"})
    verdict = control.verify(episode.id)
```
"""

from awm_registry.client.control import ControlClient
from awm_registry.client.exchanges import Unreachable
from awm_registry.client.tools import Reply, ToolClient

__all__ = ["ControlClient", "Reply", "ToolClient", "Unreachable"]

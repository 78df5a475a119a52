"""What is known of instances now, told to everybody who watches."""

import asyncio
import weakref
from collections.abc import AsyncIterator, Iterable

from awm_registry import directory

_MOST_BEHIND = 100_000

_Queue = asyncio.Queue[directory.Change | None]


class Feed:
    """The instances as last heard of, and their changes. Belongs to one event loop."""

    def __init__(self) -> None:
        self._instances: dict[directory.InstanceId, directory.Instance] = {}
        self._watching: weakref.WeakSet[_Queue] = weakref.WeakSet()
        self._closed = False
        self.version = 0
        """How many changes there were; who was told of this many knows all."""

    def all(self) -> list[directory.Instance]:
        """Every instance."""
        return list(self._instances.values())

    def get(self, id: directory.InstanceId) -> directory.Instance | None:
        """One of them."""
        return self._instances.get(id)

    def publish(self, instance: directory.Instance) -> None:
        """Says what an instance is now; what is known already is not said again."""
        if self._instances.get(instance.id) != instance:
            self._instances[instance.id] = instance
            self._tell(directory.Change(instance.id, instance))

    def remove(self, id: directory.InstanceId) -> None:
        """Says that an instance is gone. Twice is fine."""
        if self._instances.pop(id, None) is not None:
            self._tell(directory.Change(id, None))

    def replace(self, instances: Iterable[directory.Instance]) -> None:
        """Makes these all that there are, and says what that changes."""
        present = {each.id: each for each in instances}
        for id in self._instances.keys() - present.keys():
            self.remove(id)
        for each in present.values():
            self.publish(each)

    def watch(self) -> AsyncIterator[directory.Change]:
        """The present instances, then every change from this call on. Ends when the feed is closed.

        It also ends for a reader that is hopelessly behind; who then asks again begins with what is present.
        """
        queue: _Queue = asyncio.Queue()
        for each in self.all():
            queue.put_nowait(directory.Change(each.id, each))
        if self._closed:
            queue.put_nowait(None)
        self._watching.add(queue)
        return _drained(queue)

    def close(self) -> None:
        """Ends all watching."""
        self._closed = True
        for queue in self._watching:
            queue.put_nowait(None)

    def _tell(self, change: directory.Change) -> None:
        self.version += 1
        for queue in list(self._watching):
            if queue.qsize() >= _MOST_BEHIND:
                self._watching.discard(queue)
                queue.put_nowait(None)
            else:
                queue.put_nowait(change)


async def _drained(queue: _Queue) -> AsyncIterator[directory.Change]:
    while (change := await queue.get()) is not None:
        yield change

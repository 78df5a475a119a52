"""The Docker engine, as this backend asks it: blocking calls, with errors that say what to do."""

import contextlib
import ipaddress
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import docker
import docker.errors
import requests.exceptions

from awm_fleet.backends.docker import plans
from awm_generator.images import assembly, engines
from awm_runtime import errors

_TIMEOUT_S = 60
_RESERVED = 16
"""The first addresses of a network are the engine's and the host's."""

T = TypeVar("T")


class Away(errors.TransientError):
    """No engine answers. Its containers may run on, and are there when it is back."""


@dataclass(frozen=True, slots=True)
class Found:
    """A container as the engine describes it.

    Attributes:
        name: Its name.
        labels: Its labels.
        running: Whether it runs.
        exit_code: How it ended, where it does not.
        address: Its address in the fleet's network.
    """

    name: str
    labels: dict[str, str]
    running: bool
    exit_code: int
    address: str | None


class Engine:
    """A fleet's containers, volumes and its network.

    Args:
        fleet: The fleet's name; part of all names, and a label on everything.

    Raises:
        TransientError: No engine answers; `Away` once it has answered.
        PermanentError: This user may not use it.
    """

    def __init__(self, fleet: str) -> None:
        self.fleet = fleet
        self._network = f"awm-{fleet}"
        self._addresses = threading.Lock()
        with contextlib.closing(engines.Engine()) as asked:
            self._platform = asked.platform()
        with _explained():
            self._client = docker.from_env(timeout=_TIMEOUT_S, max_pool_size=16)

    def close(self) -> None:
        """Hangs up."""
        self._client.close()

    def reach(self) -> None:
        """Does nothing where the engine answers.

        Raises:
            Away: It does not.
        """
        with _explained():
            self._client.ping()

    def image(self, reference: str, digest: str) -> str:
        """The id of an image, which is pulled where it is missing.

        Raises:
            PermanentError: It is not to be had, runs on other machines, or holds another bundle than `digest`.
        """
        with _explained():
            try:
                found = self._client.images.get(reference)
            except docker.errors.ImageNotFound:
                found = self._pulled(reference)
        platform = f"{found.attrs['Os']}/{found.attrs['Architecture']}"
        if platform != self._platform:
            raise errors.PermanentError(f"{reference} is for {platform}, and the engine runs {self._platform}")
        said = (found.labels or {}).get(assembly.BUNDLE)
        if said != digest:
            raise errors.PermanentError(f"{reference} holds the bundle {said}, and {digest} is wanted")
        return str(found.id)

    def containers(self) -> list[Found]:
        """The fleet's containers, running or not."""
        with _explained():
            listed = self._client.api.containers(all=True, filters={"label": f"{plans.FLEET}={self.fleet}"})
            return [found for each in listed if (found := self.container(each["Names"][0].lstrip("/")))]

    def container(self, name: str) -> Found | None:
        """One of them; None where there is none of that name."""
        with _explained():
            try:
                said = self._client.api.inspect_container(name)
            except docker.errors.NotFound:
                return None
        networks = said["NetworkSettings"]["Networks"]
        configured = (networks.get(self._network) or {}).get("IPAMConfig") or {}
        return Found(
            name=said["Name"].lstrip("/"),
            labels=dict(said["Config"].get("Labels") or {}),
            running=bool(said["State"]["Running"]),
            exit_code=int(said["State"]["ExitCode"]),
            address=configured.get("IPv4Address"),
        )

    def volumes(self) -> frozenset[str]:
        """The names of the fleet's volumes."""
        with _explained():
            listed = self._client.api.volumes(filters={"label": f"{plans.FLEET}={self.fleet}"})
            return frozenset(each["Name"] for each in listed["Volumes"] or ())

    def create(self, plan: plans.Plan) -> Found:
        """Makes a container, its volume, and the network where that is missing; starts nothing."""
        with _explained(), self._addresses:
            address = self._free_address(self._prepared_network())
            self._client.api.create_volume(plan.name, labels={plans.FLEET: self.fleet})
            networking = {self._network: self._client.api.create_endpoint_config(ipv4_address=address)}
            self._client.api.create_container(
                plan.image,
                name=plan.name,
                user=plans.USER,
                labels=plan.labels(),
                environment=plan.variables(),
                host_config=self._client.api.create_host_config(**plan.options()),
                networking_config=self._client.api.create_networking_config(networking),
            )
        found = self.container(plan.name)
        if found is None:
            raise errors.TransientError(f"the container {plan.name} is gone as soon as it was made")
        return found

    def start(self, name: str) -> None:
        """Starts a container; one that runs is left alone.

        Raises:
            TransientError: It is gone, or the engine fails to.
        """
        try:
            with _explained():
                self._client.api.start(name)
        except docker.errors.NotFound as exc:
            raise errors.TransientError(f"the container {name} is gone") from exc

    def end(self, name: str, patience_s: float) -> None:
        """Ends a container in order and removes it; its volume stays. One that is gone is fine."""
        with _explained(), contextlib.suppress(docker.errors.NotFound):
            self._client.api.stop(name, timeout=round(patience_s))
            self._client.api.remove_container(name, force=True)

    def forget(self, name: str) -> None:
        """Removes a volume; one that is gone is fine."""
        with _explained(), contextlib.suppress(docker.errors.NotFound):
            self._client.api.remove_volume(name, force=True)

    def tidy(self) -> None:
        """Removes the network once nothing is in it."""
        with _explained(), contextlib.suppress(docker.errors.NotFound, docker.errors.APIError):
            if not self.containers():
                self._client.api.remove_network(self._network)

    def logs(self, name: str, lines: int) -> str:
        """The last lines of a container; empty where there is none of that name."""
        with _explained():
            try:
                return str(self._client.api.logs(name, tail=lines).decode(errors="replace"))
            except docker.errors.NotFound:
                return ""

    def ends(self, on_end: Callable[[str], None], stop: threading.Event) -> None:
        """Calls `on_end` with the name of each of the fleet's containers that ends, until `stop` or the engine ends."""
        filters = {"label": f"{plans.FLEET}={self.fleet}", "event": "die", "type": "container"}
        with _explained():
            events = self._client.api.events(decode=True, filters=filters)
        threading.Thread(target=lambda: (stop.wait(), events.close()), daemon=True, name="docker events end").start()
        with contextlib.suppress(requests.exceptions.RequestException, AttributeError, ValueError):
            for event in events:
                on_end(event["Actor"]["Attributes"]["name"])

    def _pulled(self, reference: str) -> Any:
        try:
            return self._client.images.pull(reference)
        except docker.errors.NotFound as exc:
            raise errors.PermanentError(
                f"the Docker engine has no image {reference} and finds none to pull; build it: awm image build"
            ) from exc
        except docker.errors.APIError as exc:
            raise errors.PermanentError(
                f"{reference} cannot be pulled: {exc.explanation} "
                "(which registries and certificates the engine trusts is its own setting)"
            ) from exc

    def _prepared_network(self) -> dict[str, Any]:
        """The fleet's network: no way out, and none from one container to another."""
        try:
            return dict(self._client.api.inspect_network(self._network))
        except docker.errors.NotFound:
            pass
        chosen = self._made_network(None)
        subnet = chosen["IPAM"]["Config"][0]["Subnet"]
        # Only a network with a subnet of one's own choice takes fixed addresses: it is made again with the same.
        self._client.api.remove_network(self._network)
        return self._made_network(subnet)

    def _made_network(self, subnet: str | None) -> dict[str, Any]:
        pools = [docker.types.IPAMPool(subnet=subnet)] if subnet else []
        self._client.api.create_network(
            self._network,
            driver="bridge",
            internal=True,
            options={"com.docker.network.bridge.enable_icc": "false"},
            ipam=docker.types.IPAMConfig(pool_configs=pools) if pools else None,
            labels={plans.FLEET: self.fleet},
            check_duplicate=True,
        )
        return dict(self._client.api.inspect_network(self._network))

    def _free_address(self, network: dict[str, Any]) -> str:
        subnet = ipaddress.ip_network(network["IPAM"]["Config"][0]["Subnet"])
        taken = {each.address for each in self.containers()}
        for number in range(_RESERVED, subnet.num_addresses - 1):
            if str(subnet[number]) not in taken:
                return str(subnet[number])
        raise errors.TransientError(f"the network {self._network} has no free address", retry_after_s=5.0)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Turns the SDK's errors into ours."""
    try:
        yield
    except docker.errors.NotFound:
        raise
    except docker.errors.APIError as exc:
        said = str(exc.explanation or exc)
        if exc.is_client_error():
            raise errors.PermanentError(f"the Docker engine refuses: {said}") from exc
        raise errors.TransientError(f"the Docker engine failed: {said}") from exc
    except (docker.errors.DockerException, requests.exceptions.RequestException) as exc:
        if "Permission" in str(exc):
            raise errors.PermanentError(
                "no permission for the Docker engine: join the group `docker`, or be root"
            ) from exc
        raise Away(
            "no Docker engine answers; start it, or name another one with DOCKER_HOST", retry_after_s=5.0
        ) from exc

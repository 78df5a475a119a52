"""Puts a router together: one core, and an ASGI app for each port."""

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from starlette.types import Receive, Scope, Send

from awm_registry import directory
from awm_registry.router import (
    actions,
    activation,
    agent_plane,
    asking,
    authority,
    controls,
    defaults,
    describing,
    discovery_routes,
    episode_routes,
    fleet_routes,
    gate,
    ids,
    metrics,
    opening,
    pool,
    roster,
    routes,
    served,
    settings,
)
from awm_runtime import errors
from awm_runtime.server import hosts, problem_responses


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a router is reached.

    Attributes:
        id_key: What episode ids are sealed with, the same for all routers of a fleet; see `ids.load_key`.
        host: The address that its ports are bound to.
        url: Where agents reach it, without a path; None: as the caller came.
        agent_port: The agents' port there, where it is another than the one that the caller came to.
        host_names: Host names that are answered beside the loopback ones and `host`; `*` for all.
        limits: Its settings.
        team: Whose fleet it serves; empty without teams.
    """

    id_key: bytes = field(repr=False)
    host: str = "127.0.0.1"
    url: str | None = None
    agent_port: int | None = None
    host_names: tuple[str, ...] = ()
    limits: settings.Settings = field(default_factory=settings.Settings)
    team: str = ""


class Router:
    """A router's ASGI apps.

    Attributes:
        agent: MCP, for agents.
        control: Episodes and the catalogue, for trainers and operators.
        metrics: Probes and `/metrics`.
        single: All of them on one port, for loopback addresses.
        table: The routes of the control plane and of metrics.
    """

    def __init__(
        self,
        agent: agent_plane.AgentPlane,
        *,
        control: gate.Gate,
        metrics: gate.Gate,
        table: Sequence[routes.Route],
        known: roster.Roster,
        connections: pool.Pool,
    ) -> None:
        self.agent = agent
        self.control = control
        self.metrics = metrics
        self.table = table
        self._roster = known
        self._pool = connections

    async def single(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Both planes, the probes and the metrics on one port."""
        path = scope["path"]
        if path.startswith(("/e/", "/s/")):
            await self.agent(scope, receive, send)
        elif path in gate.PROBES:
            await self.metrics(scope, receive, send)
        else:
            await self.control(scope, receive, send)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follows the directory for the length of a `with` block; requests are answered within it only."""
        tasks = [
            asyncio.create_task(self._roster.follow(), name="follow the directory"),
            asyncio.create_task(self._pool.tidy(), name="tidy the connections"),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            self._pool.close()


def create(
    fleet: directory.Directory,
    catalogues: served.Catalogues,
    options: Options,
    *,
    tokens: authority.Authority | None = None,
    meter: metrics.Metrics | None = None,
) -> Router:
    """Makes a router.

    Args:
        fleet: Where instances are found and woken.
        catalogues: What scenarios there are.
        options: How it is reached.
        tokens: Who may do what; None: everybody everything, which is for loopback addresses only.
        meter: What is counted, where routers of several teams are one process; None: by itself.

    Raises:
        PermanentError: It would be open to other machines without asking for tokens.
    """
    if tokens is None and not is_loopback(options.host):
        raise errors.PermanentError(
            f"{options.host} is reachable from other machines: give the router keys for tokens, or bind it to 127.0.0.1"
        )
    asks_for_tokens = tokens is not None
    tokens = tokens or authority.OpenAuthority()
    limits = options.limits
    meter = meter or metrics.Metrics()
    guard = hosts.guard((*hosts.LOOPBACK, _authority(options.host), *options.host_names))
    known = roster.Roster(fleet, catalogues)
    connections = pool.Pool(limits)
    active = activation.Activation(known, limits)
    made = ids.EpisodeIds(options.id_key)
    ask = asking.Asking(connections, limits)
    control = controls.Controls(ask, active, known=made, tokens=tokens)
    default = defaults.DefaultEpisodes(control, active, made)
    act = actions.Actions(
        opening.Opening(control, active, known, catalogues=catalogues, made=made),
        control,
        active=active,
        known=known,
        default=default,
        catalogues=catalogues,
        tokens=tokens,
        meter=meter,
    )
    table = [
        *episode_routes.table(act, control, limits),
        *fleet_routes.table(act, known, meter),
        *discovery_routes.table(catalogues, known, asks_for_tokens=asks_for_tokens),
    ]
    _watch(meter, active, connections)

    def gated(plane: routes.Plane) -> gate.Gate:
        app = _app([each for each in table if each.plane == plane], tokens, asks_for_tokens=asks_for_tokens)
        return gate.Gate(
            app,
            guard=guard,
            limits=limits,
            meter=meter,
            url=options.url,
            agent_port=options.agent_port,
            team=options.team,
        )

    return Router(
        agent_plane.AgentPlane(
            ask, control, default, catalogues=catalogues, tokens=tokens, guard=guard, limits=limits, meter=meter
        ),
        control=gated("control"),
        metrics=gated("metrics"),
        table=table,
        known=known,
        connections=connections,
    )


def _watch(meter: metrics.Metrics, active: activation.Activation, connections: pool.Pool) -> None:
    """Adds what is looked at when it is asked for."""
    meter.watch("awm_router_waiting", "Requests that wait for an instance to start.", lambda: active.waiting)
    meter.watch("awm_router_queued", "Requests that wait for a busy instance.", lambda: connections.waiting)
    meter.watch("awm_router_in_flight", "Requests that are with instances.", lambda: connections.busy)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _app(table: Sequence[routes.Route], tokens: authority.Authority, *, asks_for_tokens: bool) -> describing.App:
    app = describing.App(asks_for_tokens=asks_for_tokens)
    problem_responses.install(app)
    admitting = routes.admitting(tokens, table)
    for each in table:
        each.add_to(app, admitting)
    return app


def _authority(host: str) -> str:
    """The host as a Host header names it."""
    return f"[{host}]" if ":" in host else host

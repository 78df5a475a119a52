"""`awm fleet regenerate`: the next generation of one scenario, from its bundle to the pods that serve it.

What each step brings is found again by the next run (a report in the bundle, an image in the registry, a generation in
the `Environment`), so a run that was cut off is gone on with by the same command.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from awm_fleet import regeneration
from awm_fleet.backends.kubernetes import model as cluster_model
from awm_fleet.cli import environments, gen_next, gen_running, image, output, registry_flags
from awm_fleet.cli import gen_flags as flags
from awm_generator.gates import protocol
from awm_generator.images import references, sources
from awm_generator.stages import pipeline, publishing, regenerating
from awm_runtime import errors
from awm_runtime.bundle import digest, model, reading

if TYPE_CHECKING:
    from types import ModuleType

    from awm_fleet.backends.kubernetes import api

app = typer.Typer()
_EXAMPLES = output.examples(
    "awm fleet regenerate rover -n team-red --base registry:registry.example/awm-runtime:0.1.0 "
    "--from env --feedback 'Refuse walks in the past with a 409.'",
    "awm fleet regenerate rover -n team-red --base oci:.awm/images/awm-runtime --bundle bundles/rover "
    "--repository registry:registry.example/awm",
)

Step = Literal["look", "generate", "gate", "push", "patch", "rollout"]
State = Literal["done", "unchanged", "left out"]


@dataclass
class _Told:
    """What the steps say, as they are done."""

    quiet: bool
    steps: list[dict[str, str]] = field(default_factory=list)

    def note(self, message: str) -> None:
        """How far the last step is."""
        if not self.quiet:
            output.say(f"{'':<9}{message}", "dim")

    def step(self, step: Step, state: State, message: str) -> None:
        """One step is over."""
        self.steps.append({"step": step, "state": state, "message": message})
        if not self.quiet:
            output.say(f"{step:<9}{message}")


@app.command(epilog=_EXAMPLES)
@flags.asks_a_model
def regenerate(
    scenario: environments.Scenario,
    namespace: environments.Namespace,
    base: Annotated[
        references.Reference,
        typer.Option("--base", parser=image.reference, metavar="REF", help="The runtime's base image."),
    ],
    repository: Annotated[
        references.Reference | None,
        typer.Option(
            "--repository",
            parser=image.reference,
            metavar="PLACE",
            help="Where the image is pushed to, registry:HOST/PREFIX; by default where the present one is.",
        ),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", metavar="DIR", help="The next generation; without it the generator makes it."),
    ] = None,
    output_dir: Annotated[Path, typer.Option("--output_dir", help="The generator's folder.")] = flags.OUTPUTS,
    first: Annotated[str, typer.Option("--from", help="The first stage of the generator that runs again.")] = "task",
    feedback: Annotated[str, typer.Option("--feedback", help="What is to be different.")] = "",
    gate_level: Annotated[
        protocol.Level, typer.Option("--gate_level", help="How far it is gated, also as the generator makes it.")
    ] = "semantic",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it serves.")] = True,
    timeout: Annotated[float, typer.Option("--timeout", min=0.001, help="How long to wait, in seconds.")] = 300.0,
    kubeconfig: environments.Kubeconfig = None,
    plain_http: registry_flags.PlainHttp = False,
    ca: registry_flags.CertificateAuthority = None,
    *,
    terms: gen_running.Terms,
) -> None:
    """Make the next generation of a scenario, and have the cluster serve it in place of the one that runs.

    A bundle is gated, built on the base, pushed, and named in the scenario's `Environment`; the new revision starts
    beside the old one and takes over when it is verified. Each step leaves alone what is done already: a run that was
    cut off goes on when it is repeated, and a generation that the generator's folder has before the cluster is taken
    as it is. Exits with 1 where the old revision serves on.
    """
    told = _Told(quiet=terms.as_json)
    live = _looked_at(scenario, namespace, kubeconfig)
    place = _place(repository, live)
    told.step("look", "done", f"generation {live.bundle_generation} is on the cluster: {live.image}")
    folder = bundle
    if folder is None:
        wish = regenerating.Wish(gen_running.scenario_name(scenario), gen_running.stage_name(first), feedback)
        options = pipeline.Options(gates=gate_level, max_concurrency=terms.max_concurrency)
        folder = _made(told, terms, output_dir, wish, options, live)
    found = reading.read(folder)
    _check(found, live, folder)
    report = regeneration.gated(folder, gate_level)
    told.step("gate", "done", f"{folder} is {report.tier}")
    pushed = regeneration.published(folder, base, place, sources.Access(plain_http=plain_http, ca=ca))
    told.step("push", *_news(pushed.is_new, f"{pushed.image}", "is there already"))
    is_new = _wanted(pushed, scenario, namespace, kubeconfig)
    told.step("patch", *_news(is_new, f"generation {pushed.generation} is wanted", "already"))
    if wait:
        told.step("rollout", "done", environments.follow(scenario, namespace, kubeconfig, timeout, say=told.note))
    else:
        told.step("rollout", "left out", f"follow it with: awm fleet rollout status {scenario} -n {namespace}")
    if terms.as_json:
        facts = {"scenario": live.scenario, "namespace": namespace, "tier": report.tier}
        made = {each: getattr(pushed, each) for each in ("generation", "image", "bundle", "tools_hash")}
        output.document({**facts, **made, "steps": told.steps})


def _place(given: references.Reference | None, live: cluster_model.Environment) -> references.Reference:
    if given is None:
        return regeneration.repository_of(live.image, live.scenario)
    if given.kind != "registry":
        raise typer.BadParameter(f"--repository: a cluster pulls from a registry, and {given} is none")
    return given


def _made(
    told: _Told,
    terms: gen_running.Terms,
    folder: Path,
    wish: regenerating.Wish,
    options: pipeline.Options,
    live: cluster_model.Environment,
) -> Path:
    """The generator's next generation; one that it made before, and that the cluster has not, is taken."""
    bundle = folder / "bundles" / wish.name
    present = publishing.generation(bundle)
    if present > live.bundle_generation:
        told.step("generate", "unchanged", f"generation {present} is in {bundle} already")
        return bundle
    if present < live.bundle_generation:
        raise errors.PermanentError(
            f"{bundle} is at generation {present}, and generation {live.bundle_generation} is on the cluster: what the "
            "generator makes next would be older; give a later bundle with --bundle"
        )
    generation = gen_next.make(dataclasses.replace(terms, gate_level="none"), folder, wish, options)
    told.step("generate", "done", f"generation {generation} is in {bundle}")
    return bundle


def _check(found: model.Bundle, live: cluster_model.Environment, folder: Path) -> None:
    """Sees that a bundle may follow the one that runs."""
    from awm_fleet.backends.kubernetes import operations  # what it needs is an extra

    if found.scenario.name != live.scenario:
        raise errors.PermanentError(f"{folder} is a bundle of {found.scenario.name!r}, not of {live.scenario!r}")
    operations.check_newer(live, found.scenario.generation, digest.digest(found))


def _looked_at(scenario: str, namespace: str, kubeconfig: str | None) -> cluster_model.Environment:
    """The environment, which may be changed."""

    async def ask(operations: "ModuleType", connection: "api.Api") -> cluster_model.Environment:
        found: cluster_model.Environment = await operations.environment(connection, namespace, scenario)
        await operations.check_rights(connection, found)
        return found

    return environments.on_cluster(kubeconfig, ask)


def _wanted(pushed: regeneration.Published, scenario: str, namespace: str, kubeconfig: str | None) -> bool:
    """Wants an image on the cluster; whether that is a change."""
    wanted = cluster_model.Served(pushed.generation, pushed.image, pushed.bundle, pushed.tools_hash)
    is_new: bool = environments.on_cluster(
        kubeconfig, lambda operations, connection: operations.want(connection, namespace, scenario, wanted)
    )
    return is_new


def _news(is_new: bool, said: str, otherwise: str) -> tuple[State, str]:
    return ("done", said) if is_new else ("unchanged", f"{said} {otherwise}")

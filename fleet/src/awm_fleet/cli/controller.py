"""`awm controller`: what the chart runs to turn `Environment` objects into pods."""

from pathlib import Path
from typing import Annotated

import typer

from awm_fleet.cli import output
from awm_runtime import errors

app = typer.Typer()

_EXAMPLES = output.examples(
    "awm controller --config config.json --index index.json --namespace awm",
    "awm controller --config config.json --namespace awm --kubeconfig ~/.kube/config",
)


@app.command(epilog=_EXAMPLES)
def controller(
    config: Annotated[Path, typer.Option("--config", help="Teams, pods and rollout, as the chart writes them.")],
    namespace: Annotated[str, typer.Option("--namespace", help="Where the controller's Lease is.")],
    index: Annotated[
        Path | None, typer.Option("--index", help="The catalogue's index; without it no Environment is made.")
    ] = None,
    kubeconfig: Annotated[
        str | None,
        typer.Option("--kubeconfig", help="The way to the cluster; by default the pod's own, or KUBECONFIG's."),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Where probes and /metrics are answered.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port of these; 0: any.")] = 8080,
) -> None:
    """Run the controller of a fleet on Kubernetes until Ctrl-C.

    It makes Environments of the catalogue's index, and pods of Environments. One of several leads, the others wait.
    """
    try:
        from awm_fleet.backends.kubernetes import serving
    except ImportError as exc:
        raise errors.PermanentError(
            f"{exc.name} is not installed: install awm-fleet with its extra, `awm-fleet[kubernetes]`"
        ) from exc
    serving.run(
        serving.Options(config=config, index=index, namespace=namespace, kubeconfig=kubeconfig, host=host, port=port)
    )

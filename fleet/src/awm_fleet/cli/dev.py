"""`awm dev`: what helps to develop against AWM Fleet."""

from pathlib import Path
from typing import Annotated

import typer

from awm_fleet import examples
from awm_fleet.cli import output
from awm_generator.double import app as doubles
from awm_generator.double import faults, scripts

app = typer.Typer(name="dev", no_args_is_help=True, help="Helpers for development: a model server without a model.")

_EXAMPLES = output.examples(
    "awm dev model-server",
    "awm dev model-server FILES bundles --port 8090 --fault 429:3 --fault slow@env",
    "OPENAI_BASE_URL=http://127.0.0.1:8090/v1 OPENAI_API_KEY=any awm gen all --target_count 4",
)


@app.command("model-server", epilog=_EXAMPLES)
def model_server(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[DIR]...", help="AWM files or bundles to answer from; by default the examples."),
    ] = None,
    host: Annotated[str, typer.Option(help="The address.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0: any.")] = 8090,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND[:TIMES][@JOB]",
            help="What goes wrong: 429, 500, 503, quota, 401, 404, cut, malformed, truncated, slow. May be repeated.",
        ),
    ] = None,
    latency: Annotated[float, typer.Option(help="How long each reply takes, in seconds.")] = 0.0,
    key: Annotated[str, typer.Option(help="The only API key that is taken; by default any.")] = "",
    model: Annotated[
        list[str] | None, typer.Option(help="A model that there is; by default any is. Repeatable.")
    ] = None,
    structured: Annotated[
        doubles.Structured, typer.Option(help="What of structured output the server knows.")
    ] = "schema",
    embeddings: Annotated[bool, typer.Option(help="Whether the server has embeddings.")] = True,
    json_: Annotated[bool, typer.Option("--json", help="Print the address as one JSON document.")] = False,
) -> None:
    """Serve the OpenAI API without a model.

    Answers the prompts of `awm gen` from the rows of AWM files and bundles, and fails on cue. Azure's paths work too.
    GET /stats counts what was asked and answered; POST /cues adds a fault while it runs. Ends with Ctrl-C.
    """
    found = scripts.Scripts(scripts.load(folders or [examples.path(name) for name in examples.names()]))
    double = doubles.Double(
        found,
        faults.Cues(faults.parsed(each) for each in fault or ()),
        doubles.Behaviour(
            key=key,
            models=frozenset(model or ()),
            structured=structured,
            latency_s=latency,
            embeddings=embeddings,
        ),
    )
    from awm_generator.double import serving  # uvicorn, for this command alone

    serving.serve(double, host=host, port=port, on_ready=lambda url: _announce(url, len(found), as_json=json_))


def _announce(url: str, scripted: int, *, as_json: bool) -> None:
    if as_json:
        output.document({"url": url, "scenarios": scripted})
        return
    output.say(f"A model server without a model, with {scripted} scenario(s) to answer from", "bold green")
    for line in (f"OPENAI_BASE_URL={url}/v1", "OPENAI_API_KEY=any", f"AZURE_ENDPOINT_URL={url}"):
        output.say(f"  {line}")
    output.say("  stop with Ctrl-C\n")

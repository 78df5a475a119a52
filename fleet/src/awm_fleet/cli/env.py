"""`awm env`: one environment on this machine; the commands of the AWM reference, on bundles and on AWM files."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from awm_fleet.cli import locating, output, serving
from awm_generator.awm_files import databases, importing, rows
from awm_registry import client
from awm_runtime import errors
from awm_runtime.bundle import database, model
from awm_runtime.contract import problems
from awm_runtime.determinism import clock as clocks

app = typer.Typer(name="env", no_args_is_help=True, help="Serve, check and reset environments.")

EXIT_PARTLY = 3
_RESET_CLOCK = clocks.parse("2026-01-01T09:00:00Z")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command(
    "start",
    epilog=output.examples(
        "awm env start library",
        "awm env start bundles/rover --port 9001",
        "awm env start --scenario Rover --envs_load_path FILES/gen_envs.jsonl --db_schema_path FILES/gen_db.jsonl "
        "--sample_path FILES/gen_sample.jsonl",
    ),
)
def start(
    bundle: Annotated[
        str | None,
        typer.Argument(help="A bundle's folder, or an example's name.", autocompletion=locating.example_names),
    ] = None,
    scenario: Annotated[
        str | None, typer.Option("--scenario", help="A scenario of AWM's files, in place of a bundle.")
    ] = None,
    envs_load_path: Annotated[
        Path | None,
        typer.Option(
            "--envs_load_path", help="AWM's gen_envs.jsonl; tasks, verifiers and the others are read beside it."
        ),
    ] = None,
    db_path: Annotated[
        Path | None, typer.Option("--db_path", help="Start from this SQLite file in place of the samples.")
    ] = None,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The agent plane's port; 0: any.")] = 8001,
    control_port: Annotated[
        int | None,
        typer.Option("--control_port", min=0, max=65535, help="The control plane's port; by default the next one."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow_host", metavar="NAME", help="A host name to answer beside HOST; may be repeated, `*` is for all."
        ),
    ] = None,
    db_schema_path: Annotated[Path, typer.Option("--db_schema_path", help="AWM's gen_db.jsonl.")] = Path(
        "./outputs/gen_db.jsonl"
    ),
    sample_path: Annotated[Path, typer.Option("--sample_path", help="AWM's gen_sample.jsonl.")] = Path(
        "./outputs/gen_sample.jsonl"
    ),
    output_dir: Annotated[
        Path, typer.Option("--output_dir", help="Where episodes and what was imported are kept.")
    ] = serving.DEFAULT_STATE,
) -> None:
    """Serve one environment over MCP until Ctrl-C.

    Agents reach it at http://HOST:PORT/mcp; episodes are opened on the control plane, one port higher. Where HOST is
    not a loopback address, the control plane asks for a token: give it as AWM_CONTROL_TOKEN.
    """
    if (bundle is None) == (scenario is None):
        raise typer.BadParameter("give a BUNDLE, or --scenario with --envs_load_path")
    if bundle is not None:
        folder = locating.bundle_folder(bundle)
    elif scenario is None or envs_load_path is None:
        raise typer.BadParameter("--scenario is looked up in AWM's files: give --envs_load_path too")
    else:
        files = {
            **locating.awm_files_beside(envs_load_path),
            "gen_envs.jsonl": locating.awm_file(envs_load_path, "--envs_load_path"),
            "gen_db.jsonl": locating.awm_file(db_schema_path, "--db_schema_path"),
            "gen_sample.jsonl": locating.awm_file(sample_path, "--sample_path"),
        }
        folder = serving.imported(scenario, files, output_dir / "imported", seed=db_path)
    serving.serve(folder, output_dir, host=host, port=port, control_port=control_port, allowed_hosts=allow_host or ())


@app.command("check", epilog=output.examples("awm env check", "awm env check --url http://127.0.0.1:9001/mcp --json"))
def check(
    url: Annotated[str, typer.Option("--url", help="The MCP URL.")] = "http://localhost:8001/mcp",
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.001, help="How long an answer is waited for, in seconds.")
    ] = 10.0,
    json_: Json = False,
) -> None:
    """Ask an MCP URL who serves there, and for its tools."""
    try:
        with client.ToolClient(url, timeout_s=timeout) as tools:
            server = tools.initialize()["serverInfo"]
            listed = tools.tools()
    except problems.ProblemError as exc:
        reason = "it is no MCP URL" if exc.code is problems.Code.BAD_REQUEST else exc.detail
        raise errors.PermanentError(f"{url} serves no tools: {reason}") from exc
    if json_:
        output.document({"url": url, "server": server, "tools": [tool["name"] for tool in listed]})
        return
    output.table(
        f"{server['name']} at {url}: {len(listed)} tools",
        ("tool", "what it does"),
        ((tool["name"], tool.get("description", "").split("\n")[0]) for tool in listed),
    )


@app.command(
    "check_all",
    epilog=output.examples(
        "awm env check_all --input outputs/gen_envs.jsonl",
        "awm env check_all --input outputs/gen_envs.jsonl --allowed_scenarios Rover,Samsara --json",
    ),
)
def check_all(
    input_: Annotated[
        Path, typer.Option("--input", help="AWM's gen_envs.jsonl; gen_db.jsonl and the others stand beside it.")
    ],
    allowed_scenarios: Annotated[
        str | None, typer.Option("--allowed_scenarios", help="Only these, by name, with commas between them.")
    ] = None,
    json_: Json = False,
) -> None:
    """Check that every environment loads.

    Each is loaded in a confined process of its own, and its tools are counted. Exits with 3 when some do not load; the
    reasons are in the table.
    """
    wanted = locating.scenario_names(allowed_scenarios, "--allowed_scenarios")
    files = {
        "gen_envs.jsonl": locating.awm_file(input_, "--input"),
        "gen_db.jsonl": locating.awm_file(input_.parent / "gen_db.jsonl", "--input, as a file beside it"),
        "gen_sample.jsonl": input_.parent / "gen_sample.jsonl",
    }
    selected = importing.select(rows.join(files), wanted)
    with tempfile.TemporaryDirectory(prefix="awm-check-") as scratch:
        done = list(output.tracked(importing.run(selected, Path(scratch)), len(selected), "Checking"))
    if json_:
        output.document({"environments": [_checked(each) for each in done]})
    else:
        cells = ((each.name, *_result(each)) for each in done)
        output.table(f"{len(done)} environments", ("scenario", "", "tools", "reason"), cells)
    if any(each.bundle is None for each in done):
        raise typer.Exit(EXIT_PARTLY)


@app.command(
    "reset_db",
    epilog=output.examples(
        "awm env reset_db --input_db outputs/gen_db.jsonl --input_sample outputs/gen_sample.jsonl",
        "awm env reset_db --input_db outputs/gen_db.jsonl --input_sample outputs/gen_sample.jsonl --scenarios Rover",
    ),
)
def reset_db(
    input_db: Annotated[Path, typer.Option("--input_db", help="AWM's gen_db.jsonl.")],
    input_sample: Annotated[Path, typer.Option("--input_sample", help="AWM's gen_sample.jsonl.")],
    database_dir: Annotated[
        Path, typer.Option("--database_dir", help="Where NAME.db files are written, in place of those that are there.")
    ] = Path("./outputs/databases"),
    scenarios: Annotated[
        str | None, typer.Option("--scenarios", help="Only these, by name, with commas between them.")
    ] = None,
    json_: Json = False,
) -> None:
    """Build the databases of AWM's files anew.

    Exits with 3 when some statement could not be used; each is named on standard error.
    """
    wanted = locating.scenario_names(scenarios, "--scenarios")
    files = {
        "gen_db.jsonl": locating.awm_file(input_db, "--input_db"),
        "gen_sample.jsonl": locating.awm_file(input_sample, "--input_sample"),
    }
    selected = importing.select(rows.join(files), wanted)
    database_dir.mkdir(parents=True, exist_ok=True)
    built = [_built(each, database_dir) for each in output.tracked(iter(selected), len(selected), "Building")]
    if json_:
        output.document({"databases": [each.document() for each in built]})
    else:
        cells = ((each.name, each.path, each.rows, len(each.dropped)) for each in built)
        output.table("Databases", ("scenario", "file", "rows", "dropped"), cells)
    for each in built:
        for finding in each.dropped:
            output.warn(f"{each.name}: {finding.subject}: {finding.detail}")
    if any(each.dropped for each in built):
        raise typer.Exit(EXIT_PARTLY)


@dataclass(frozen=True)
class _Built:
    name: str
    path: Path
    rows: int
    dropped: tuple[model.Finding, ...]

    def document(self) -> dict[str, Any]:
        dropped = [{"table": finding.subject, "detail": finding.detail} for finding in self.dropped]
        return {"scenario": self.name, "path": str(self.path), "rows": self.rows, "dropped": dropped}


def _built(originals: rows.Originals, folder: Path) -> _Built:
    schema = originals.row(rows.DbRow)
    if schema is None:
        raise errors.BundleError(f"gen_db.jsonl has no row for {originals.name}")
    path = folder / f"{originals.name}.db"
    usable = databases.usable(schema, originals.row(rows.SampleRow), _RESET_CLOCK)
    report = database.build(usable.schema_sql, usable.seed_sql, _RESET_CLOCK, path, "off")
    dropped = tuple(finding for finding in usable.findings if finding.action == "dropped")
    return _Built(originals.name, path, report.rows, dropped)


def _checked(done: importing.Imported) -> dict[str, Any]:
    said, tools, reason = _result(done)
    return {"scenario": done.name, "ok": said == "ok", "tools": tools, "reason": reason}


def _result(done: importing.Imported) -> tuple[str, int, str | None]:
    """Whether it loads, how many tools it has, and why it does not."""
    if done.bundle is None:
        return "FAILED", 0, done.reason
    return "ok", len(done.bundle.tools), None

"""`awm env`: one environment on this machine; the commands of the AWM reference, on bundles and on AWM files."""

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import rich.progress
import typer

from awm_fleet.cli import locating, output
from awm_generator import reseeding
from awm_generator.awm_files import databases, importing, rows
from awm_registry import client
from awm_runtime import errors
from awm_runtime.bundle import database, reading, writing
from awm_runtime.determinism import clock as clocks
from awm_runtime.server import keeper
from awm_runtime.server.__main__ import TOKEN_VARIABLE

app = typer.Typer(name="env", no_args_is_help=True, help="Serve, check and reset one environment on this machine.")

EXIT_PARTLY = 3
DEFAULT_STATE = Path(".awm/instances")
_RESET_CLOCK = "2026-01-01T09:00:00Z"

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command("start")
def start(
    bundle: Annotated[str | None, typer.Argument(help="A bundle's folder, or an example's name.")] = None,
    scenario: Annotated[str | None, typer.Option(help="A scenario of the AWM files, in place of a bundle.")] = None,
    envs_load_path: Annotated[Path | None, typer.Option(help="AWM's gen_envs.jsonl.")] = None,
    db_path: Annotated[Path | None, typer.Option(help="Start from this SQLite file instead of the samples.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the agent plane; 0: any.")] = 8001,
    control_port: Annotated[
        int | None, typer.Option(help="Port of the control plane; by default the next one.")
    ] = None,
    db_schema_path: Annotated[Path, typer.Option(help="AWM's gen_db.jsonl.")] = Path("outputs/gen_db.jsonl"),
    sample_path: Annotated[Path, typer.Option(help="AWM's gen_sample.jsonl.")] = Path("outputs/gen_sample.jsonl"),
    output_dir: Annotated[Path, typer.Option(help="Where episodes and imports are kept.")] = DEFAULT_STATE,
) -> None:
    """Serve one environment over MCP until Ctrl-C.

    The MCP URL is http://HOST:PORT/mcp; episodes are opened on the control plane, one port higher. Where HOST is not a
    loopback address, the control plane's token is taken from AWM_CONTROL_TOKEN.
    """
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if (bundle is None) == (scenario is None):
        raise typer.BadParameter("give a BUNDLE, or --scenario with --envs_load_path")
    if bundle is not None:
        folder = locating.bundle_folder(bundle)
    else:
        if envs_load_path is None:
            raise typer.BadParameter("--scenario is looked up in AWM's files: give --envs_load_path")
        assert scenario is not None
        files = {"gen_envs.jsonl": envs_load_path, "gen_db.jsonl": db_schema_path, "gen_sample.jsonl": sample_path}
        folder = _imported(scenario, files, output_dir / "imported", seed=db_path)
    keeper.serve(
        keeper.Options(
            bundle=folder,
            state=output_dir,
            host=host,
            port=port,
            control_port=control_port if control_port is not None else (port + 1 if port else 0),
            token=os.environ.get(TOKEN_VARIABLE),
        ),
        on_ready=lambda address: _announce(folder, address),
    )


def _imported(scenario: str, files: dict[str, Path], out: Path, *, seed: Path | None) -> Path:
    done = locating.imported(scenario, files, out)
    assert done.bundle is not None
    for finding in done.bundle.report.findings:
        output.err.print(f"{finding.action} {finding.stage} {finding.subject}: {finding.detail}", style="yellow")
    if seed is None or not seed.exists():
        return done.bundle.root
    return writing.write(reseeding.from_file(done.bundle, seed), done.bundle.root).root


def _announce(folder: Path, address: keeper.Address) -> None:
    bundle = reading.read(folder)
    output.say(f"\n{bundle.scenario.title}: {len(bundle.tools)} tools, {len(bundle.tasks)} tasks", "bold green")
    output.say(f"  MCP      {address.mcp_url}")
    output.say(f"  control  {address.control_url}/v1/episodes")
    output.say("  next     awm demo     (a task, solved call by call and judged)")
    output.say("  stop     Ctrl-C\n")


@app.command("check")
def check(
    url: Annotated[str, typer.Option(help="The MCP URL.")] = "http://localhost:8001/mcp",
    timeout: Annotated[float, typer.Option(help="How long an answer is waited for, in seconds.")] = 10.0,
    json_: Json = False,
) -> None:
    """Ask an MCP URL for its tools."""
    with client.ToolClient(url, timeout_s=timeout) as tools:
        server = tools.initialize()["serverInfo"]
        listed = tools.tools()
    if json_:
        output.document({"url": url, "server": server, "tools": [tool["name"] for tool in listed]})
        return
    output.table(
        f"{server['name']} at {url}: {len(listed)} tools",
        ("tool", "what it does"),
        ((tool["name"], tool.get("description", "").split("\n")[0]) for tool in listed),
    )


@app.command("check_all")
def check_all(
    input_: Annotated[Path, typer.Option("--input", help="AWM's gen_envs.jsonl; gen_db.jsonl stands beside it.")],
    allowed_scenarios: Annotated[str | None, typer.Option(help="Only these, by name, separated by commas.")] = None,
    json_: Json = False,
) -> None:
    """Load every environment of a file, each confined in a process of its own, and list its tools."""
    beside = [path for path in input_.parent.glob("gen_*.jsonl") if path.name != "gen_envs.jsonl"]
    with locating.gathered({"gen_envs.jsonl": input_, **{path.name: path for path in beside}}) as folder:
        selected = importing.select(rows.load(folder), allowed_scenarios.split(",") if allowed_scenarios else [])
        done = []
        with rich.progress.Progress(console=output.err, transient=True) as progress:
            bar = progress.add_task("checking", total=len(selected))
            for each in importing.run(selected, folder / "bundles"):
                done.append(each)
                progress.advance(bar)
    if json_:
        output.document(
            [
                {
                    "scenario": each.name,
                    "ok": each.bundle is not None,
                    "tools": _tool_count(each),
                    "reason": each.quarantined,
                }
                for each in done
            ]
        )
    else:
        rows_ = (
            (each.name, "ok" if each.bundle else "FAILED", _tool_count(each), each.quarantined or "") for each in done
        )
        output.table(f"{len(done)} environments", ("scenario", "", "tools", "reason"), rows_)
    if any(each.bundle is None for each in done):
        raise typer.Exit(EXIT_PARTLY)


def _tool_count(done: importing.Imported) -> int:
    return len(done.bundle.tools) if done.bundle else 0


@app.command("reset_db")
def reset_db(
    input_db: Annotated[Path, typer.Option(help="AWM's gen_db.jsonl.")],
    input_sample: Annotated[Path, typer.Option(help="AWM's gen_sample.jsonl.")],
    database_dir: Annotated[Path, typer.Option(help="Where NAME.db files are written.")] = Path("outputs/databases"),
    scenarios: Annotated[str | None, typer.Option(help="Only these, by name, separated by commas.")] = None,
    json_: Json = False,
) -> None:
    """Build the databases of AWM files anew, on a frozen clock; statements that fail are named."""
    with locating.gathered({"gen_db.jsonl": input_db, "gen_sample.jsonl": input_sample}) as folder:
        found = rows.load(folder, required=("gen_db.jsonl",))
    selected = importing.select(found, scenarios.split(",") if scenarios else [])
    database_dir.mkdir(parents=True, exist_ok=True)
    built = []
    for each in selected:
        schema = each.row(rows.DbRow)
        if schema is None:
            raise errors.BundleError(f"{input_db}: no row for {each.name}")
        moment = clocks.parse(_RESET_CLOCK)
        usable = databases.usable(schema, each.row(rows.SampleRow), moment)
        path = database_dir / f"{each.name}.db"
        report = database.build(usable.schema_sql, usable.seed_sql, moment, path, "off")
        built.append((each.name, path, report.rows, [f for f in usable.findings if f.action == "dropped"]))
    if json_:
        output.document(
            [{"scenario": n, "path": p, "rows": r, "dropped": [f.model_dump() for f in d]} for n, p, r, d in built]
        )
    else:
        output.table("Databases", ("scenario", "file", "rows", "dropped"), ((n, p, r, len(d)) for n, p, r, d in built))
    for _name, _path, _rows, dropped in built:
        for finding in dropped:
            output.err.print(f"{finding.subject}: {finding.detail}", style="yellow", markup=False)
    if any(dropped for *_, dropped in built):
        raise typer.Exit(EXIT_PARTLY)

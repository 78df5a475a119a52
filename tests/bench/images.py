"""`make bench-images`: how long a thousand images take, into a folder, into a registry, and one into a container."""

import argparse
import contextlib
import dataclasses
import gzip
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import httpx

from awm_generator.images import assembly, building, layers, model, outputs, references, sources
from awm_runtime.bundle import reading, writing
from bench import report, worlds

MANY = 1000
_STARTS = 5
_PATIENCE_S = 60.0
_POLL_S = 0.01
_CONFIG = """
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


def main() -> None:
    """Measures what this machine can measure; what it cannot is said on standard error."""
    parser = argparse.ArgumentParser(prog="make bench-images BENCH_ARGS=...", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="twenty images: shows that it runs, no more")
    parser.add_argument("--images", type=int, default=MANY, help="as many images; the targets are for 1,000")
    parser.add_argument("--base", default="oci:.awm/images/awm-runtime", help="the runtime's base, see `make images`")
    given = parser.parse_args()
    machine = report.machine()
    _say(report.described(machine))
    rows = []
    count = 20 if given.quick else given.images
    with tempfile.TemporaryDirectory(prefix="awm-bench-") as folder:
        bundles = list(_bundles(Path(folder) / "bundles", count))
        with sources.opened(references.parse(given.base), sources.Access()) as base:
            for row in _rows(bundles, base, Path(folder)):
                rows.append(row)
                what, measured, targets, met = row.cells()
                _say(f"{what:58}  {measured:32}  {targets}  {met}")
    print(json.dumps({"machine": machine, "rows": [row.document() for row in rows]}, indent=1))


def _rows(bundles: list[Path], base: model.Image, folder: Path) -> Iterator[report.Row]:
    count = len(bundles)
    layout = f"oci:{folder}/images"
    yield _row(f"{count} images into a layout", _timed(bundles, base, layout), 15.0)
    yield _row(f"{count} images into it again", _timed(bundles, base, layout))
    size = sum(path.stat().st_size for path in (folder / "images").rglob("*"))
    yield report.Row("images", f"the layout of {count}, base included", {"mb": size / 1e6})
    yield report.Row(
        "images",
        "a layer, to its files as tar.gz",
        {"ratio": median(map(_ratio, bundles[:20]))},
        (report.Limit("ratio", "below", 1.1),),
    )
    if command := next(filter(None, map(shutil.which, ("docker-registry", "registry"))), None):
        with _registry(command, folder) as host:
            place = f"registry:{host}/awm"
            yield _row(f"{count} images pushed to a local registry", _timed(bundles, base, place), 60.0)
            yield _row(f"{count} images pushed again, nothing changed", _timed(bundles, base, place), 15.0)
            _regenerate(bundles[0])
            yield _row("one regenerated scenario assembled and pushed", _timed(bundles[:1], base, place), 0.5)
    else:
        _say("no docker-registry on the PATH: pushing is not measured")
    if shutil.which("docker") and not subprocess.run(["docker", "version"], capture_output=True).returncode:
        yield from _starting(bundles[0], base)
    else:
        _say("no Docker engine answers: the start of a container is not measured")


def _row(what: str, figures: dict[str, float], below: float | None = None) -> report.Row:
    limits = (report.Limit("seconds", "below", below),) if below is not None else ()
    return report.Row("images", what, figures, limits)


def _timed(bundles: list[Path], base: model.Image, place: str) -> dict[str, float]:
    """How long it takes, and what of that the processors were ours: the rest is others' on a machine that is shared."""
    began, spent = time.perf_counter(), _processor_s()
    with outputs.opened(references.parse(place), sources.Access()) as output:
        for built in building.build(bundles, base, output):
            if built.error is not None:
                raise SystemExit(f"{built.path}: {built.error}")
    return {"seconds": time.perf_counter() - began, "cpu_s": _processor_s() - spent}


def _processor_s() -> float:
    """What this process and its ended children have used of the processors."""
    return sum(os.times()[:4])


def _bundles(folder: Path, count: int) -> Iterator[Path]:
    """Different bundles, made from the scenarios that there are by giving them other names."""
    made = [reading.read(world.bundle.root) for world in worlds.prepared([], folder / "originals")]
    for number in range(count):
        original = made[number % len(made)]
        name = f"{original.scenario.name}_{number:04}"
        scenario = original.scenario.model_copy(update={"name": name})
        yield writing.write(dataclasses.replace(original, scenario=scenario), folder / name).root


def _regenerate(folder: Path) -> None:
    bundle = reading.read(folder)
    scenario = bundle.scenario.model_copy(update={"generation": bundle.scenario.generation + 1})
    writing.write(dataclasses.replace(bundle, scenario=scenario), folder)


def _ratio(folder: Path) -> float:
    """The size of a layer, to that of its files as an ordinary tar.gz."""
    layer = layers.build(folder)
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for path, content in layers.unpack(model.Blob.of(layer.content, model.LAYER)).items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return len(layer.content) / len(gzip.compress(output.getvalue()))


def _starting(bundle: Path, base: model.Image) -> Iterator[report.Row]:
    layer = layers.build(bundle)
    with outputs.opened(references.parse("docker:awm-bench"), sources.Access()) as engine:
        [stored] = engine.put([(layer.scenario, layer.generation, assembly.assemble(base, layer))])
    image = references.parse(stored.reference).place
    try:
        seconds = [_started(image) for _ in range(_STARTS + 1)][1:]  # the first one warms the page cache
    finally:
        subprocess.run(["docker", "image", "rm", "-f", image], capture_output=True, check=True)
    yield _row("docker run to ready", {"seconds": median(seconds)}, 2.0)


def _started(image: str) -> float:
    options = ["--rm", "--detach", "--publish", "127.0.0.1::8002", "--env", f"AWM_CONTROL_TOKEN_SHA256={'0' * 64}"]
    began = time.perf_counter()
    container = _output("docker", "run", *options, image)
    try:
        port = _output("docker", "port", container, "8002/tcp").rpartition(":")[2]
        with httpx.Client(trust_env=False) as client:
            while time.perf_counter() - began < _PATIENCE_S:
                with contextlib.suppress(httpx.TransportError):
                    if client.get(f"http://127.0.0.1:{port}/readyz").status_code == httpx.codes.OK:
                        return time.perf_counter() - began
                time.sleep(_POLL_S)
        raise SystemExit("the container does not become ready")
    finally:
        _output("docker", "kill", container)


@contextlib.contextmanager
def _registry(command: str, folder: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "registry.yml"
    config.write_text(_CONFIG.format(folder=folder / "registry", port=port))
    environment = {**os.environ, "OTEL_TRACES_EXPORTER": "none"}
    with subprocess.Popen(
        [command, "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    ) as server:
        try:
            began = time.perf_counter()
            while time.perf_counter() - began < _PATIENCE_S:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(_POLL_S)
            yield f"127.0.0.1:{port}"
        finally:
            server.terminate()


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

"""What static gates look at: a bundle, the seed that its SQL builds, and its code once it was loaded."""

import ast
import shutil
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from awm_generator.awm_files import parsing
from awm_generator.gates import seeds
from awm_runtime import errors
from awm_runtime.bundle import database, model
from awm_runtime.server import loading

_SEED = "seed.db"


@dataclass(frozen=True)
class Subject:
    """A bundle under examination.

    Attributes:
        folder: Where files may be written.
        seed: The file that its SQL builds.
        built: What came of building it.
        code: Its code, started up; None where it does not load.
        load_error: Why it does not load.
        load_s: How long loading took, in seconds.
    """

    bundle: model.Bundle
    folder: Path
    seed: Path
    built: database.BuildReport
    code: loading.LoadedScenario | None
    load_error: errors.EnvironmentCodeError | None = None
    load_s: float = 0.0

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree of its code; an empty one where it is not Python, which shows as it does not load."""
        return parsing.parsed(self.bundle.environment) or ast.Module([], [])

    @cached_property
    def data(self) -> seeds.Seed:
        """What is in its seed."""
        return seeds.read(self.seed)


def build(bundle: model.Bundle, folder: Path) -> database.BuildReport:
    """Builds the seed in a folder, for `prepare`."""
    foreign_keys = bundle.scenario.foreign_keys
    return database.build(bundle.schema_sql, bundle.seed_sql, bundle.clock, folder / _SEED, foreign_keys)


def prepare(bundle: model.Bundle, folder: Path, built: database.BuildReport) -> Subject:
    """Loads the code beside a built seed. It runs the scenario's code, so the process is to be confined."""
    seed = folder / _SEED
    scratch = Path(shutil.copyfile(seed, folder / "startup.db"))
    foreign_keys = bundle.scenario.foreign_keys == "on"
    began = time.perf_counter()
    code, failure = None, None
    try:
        code = loading.load(bundle.environment, scratch_database=scratch, clock=bundle.clock, foreign_keys=foreign_keys)
    except errors.EnvironmentCodeError as exc:
        failure = exc
    return Subject(bundle, folder, seed, built, code, failure, time.perf_counter() - began)

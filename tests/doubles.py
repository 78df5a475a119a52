"""A running model server without a model, as tests use it."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

KEY = "sk-test-0123456789abcdef"
"""A key that is looked for everywhere afterwards."""


class Double:
    """A running server.

    Attributes:
        url: Where it is, without a path.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead a generator to it."""
        return {"OPENAI_BASE_URL": f"{self.url}/v1", "OPENAI_API_KEY": KEY}

    @property
    def azure(self) -> dict[str, str]:
        """The same for Azure's dialect."""
        return {"AWM_SYN_LLM_PROVIDER": "azure", "AZURE_ENDPOINT_URL": self.url, "AZURE_OPENAI_API_KEY": KEY}

    def stats(self) -> dict[str, Any]:
        """What was asked and answered so far."""
        counted: dict[str, Any] = httpx.get(f"{self.url}/stats", timeout=30).raise_for_status().json()
        return counted

    def cue(self, fault: str, **fields: Any) -> None:
        """Lets something go wrong."""
        httpx.post(f"{self.url}/cues", json={"fault": fault, **fields}, timeout=30).raise_for_status()


@contextlib.contextmanager
def running(*folders: Path, flags: tuple[str, ...] = ()) -> Iterator[Double]:
    """Serves scripts of some folders, or of the examples, for the length of a `with` block."""
    command = [str(Path(sys.executable).with_name("awm")), "dev", "model-server", *map(str, folders)]
    process = subprocess.Popen(
        [*command, "--port", "0", "--json", *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if line.rstrip() == "}":
                break
        assert said, process.stderr and process.stderr.read()
        yield Double(json.loads(said)["url"])
    finally:
        process.terminate()
        process.communicate(timeout=20)

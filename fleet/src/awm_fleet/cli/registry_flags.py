"""The flags of commands that speak to an image registry."""

from pathlib import Path
from typing import Annotated

import typer

PlainHttp = Annotated[
    bool, typer.Option("--plain_http", help="Speak to the registry without TLS; this machine's own needs no flag.")
]
CertificateAuthority = Annotated[
    Path | None, typer.Option("--ca", help="A file with further certificates to trust, in PEM.")
]

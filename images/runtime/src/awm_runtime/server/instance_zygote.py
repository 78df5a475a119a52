"""What instances are forked from where many share a machine: `python -m awm_runtime.server.instance_zygote`.

It has imported what every scenario needs, and has never loaded scenario code or read a bundle.
"""

import importlib
import os
import random
from typing import Any

from awm_runtime import families
from awm_runtime.server import configuration, engines, inline, instance
from awm_runtime.zygote import serving

_PRELOADED = """
    _strptime concurrent.futures.thread email.mime.text fastapi.openapi.utils fastapi.telemetry._runtime httptools
    pydantic._internal._dataclasses pydantic.v1 sqlalchemy.dialects.sqlite sqlalchemy.ext.declarative sqlalchemy.orm
    uvicorn.protocols.http.httptools_impl zoneinfo
""".split()  # noqa: SIM905 - what serving and common scenario code import late, once for all of them


def _live(request: dict[str, Any], descriptors: list[int]) -> int:
    """An instance's life.

    Args:
        request: `config` (`configuration.InstanceConfig`), `name` for `ps`, and `settings`, variables of its own.
        descriptors: Of the agent plane, the control plane, the judge, the report and the log.
    """
    agent, control, judge, report, log = descriptors
    for standard in (1, 2):
        os.dup2(log, standard)
    os.close(log)
    families.name(request["name"])
    os.environ.update(request["settings"])
    random.seed()  # what was drawn before the fork, every instance would draw again
    config = configuration.InstanceConfig.parse(request["config"])
    os.chdir(config.state_folder)
    return instance.serve(config, configuration.Descriptors(agent=agent, control=control, judge=judge, report=report))


if __name__ == "__main__":
    for each in (*_PRELOADED, *os.environ.get(configuration.PRELOAD_VARIABLE, "").split()):
        importlib.import_module(each)
    engines.install()  # looks at every module, which would copy the pages of all of them into each fork
    inline.install()
    serving.serve(_live)

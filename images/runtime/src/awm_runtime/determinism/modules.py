"""The import statement of scenario code: a few standard modules come frozen, all others as they are.

A scenario module is run with a `__builtins__` of its own, in which `__import__` is `scenario_import`:

```python
namespace["__builtins__"] = vars(builtins) | {"__import__": modules.scenario_import}
```

Only import statements and `__import__` of that module come through here. The server and all libraries keep the real
modules, also the libraries that a scenario calls: `importlib.import_module("time")` and a library that reads the clock
by itself give the real present.
"""

import builtins
import datetime
import os
import random
import secrets
import time
import types
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from awm_runtime.determinism import moments, randomness


def _stand_in(real: types.ModuleType, replaced: Mapping[str, Any]) -> types.ModuleType:
    """A copy of a module's namespace with some names replaced, so that `from module import *` works too."""
    module = types.ModuleType(real.__name__, real.__doc__)
    vars(module).update(vars(real), **replaced)
    return module


_STAND_INS: dict[str, types.ModuleType] = {
    real.__name__: _stand_in(real, replaced)
    for real, replaced in (
        (datetime, moments.DATETIME),
        (time, moments.TIME),
        (random, randomness.RANDOM),
        (uuid, randomness.UUID),
        (secrets, randomness.SECRETS),
        (os, randomness.OS),
    )
}


def scenario_import(
    name: str,
    globals: Mapping[str, object] | None = None,
    locals: Mapping[str, object] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> types.ModuleType:
    """Stands for `builtins.__import__` in scenario code."""
    module = builtins.__import__(name, globals, locals, fromlist, level)
    # `import os.path` asks for "os.path" and gets the package, `from os.path import join` the module posixpath.
    return _STAND_INS.get(module.__name__, module)

"""Confines the calling process for good: Landlock for files, seccomp for everything else. Needs no root.

```python
confinement.confine(confinement.Policy(read=(*confinement.runtime_read_paths(), bundle), write=(state,)))
```
"""

from awm_runtime.confinement.enforcement import ConfinementUnavailable, Enforcement, confine
from awm_runtime.confinement.policy import Policy, runtime_read_paths

__all__ = ["ConfinementUnavailable", "Enforcement", "Policy", "confine", "runtime_read_paths"]

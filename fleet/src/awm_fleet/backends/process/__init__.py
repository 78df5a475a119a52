"""Scenarios as processes of this machine: a supervisor, a zygote that forks them, and routers beside it."""

"""Environments as containers of a Docker engine on this machine: one hardened container each."""

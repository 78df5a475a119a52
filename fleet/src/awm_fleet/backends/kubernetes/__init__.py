"""Environments on Kubernetes: the `Environment` resource, and the controller that makes it so."""

"""Language models: one protocol, the endpoints behind it, and wrappers that each add one thing."""

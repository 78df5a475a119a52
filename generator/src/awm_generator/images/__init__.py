"""Images of scenarios: a bundle on top of the runtime's base layers, put together without a Docker engine."""

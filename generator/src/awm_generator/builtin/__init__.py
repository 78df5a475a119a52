"""The built-in provider: scenarios compiled from hand-written blueprints, without a language model."""

"""The stages from seed names to bundles. Each takes rows and a model, tries what it was given, and gives rows."""

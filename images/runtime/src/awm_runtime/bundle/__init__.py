"""Bundles: the folder that holds one scenario at one generation, as data. Reading one imports and runs nothing."""

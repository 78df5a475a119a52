"""From a blueprint, modules and a seed to a bundle."""

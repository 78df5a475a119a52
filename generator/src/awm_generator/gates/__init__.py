"""Gates: what a bundle must pass before it is published, and the tier that it earns by them."""

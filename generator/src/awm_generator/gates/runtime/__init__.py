"""Gates over what its tools do when they are called."""

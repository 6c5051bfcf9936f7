"""ONE step, ONE loop, for every method."""

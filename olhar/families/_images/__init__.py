"""How pictures become tiles and tokens: one arithmetic a file, without torch."""

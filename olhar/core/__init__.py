"""What everything else stands on: types, recipe, registries, the stage store, errors. Knows no torch."""

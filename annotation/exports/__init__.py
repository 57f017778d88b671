"""Take data out: frozen datasets in the formats of other tools, and every label as it was given."""

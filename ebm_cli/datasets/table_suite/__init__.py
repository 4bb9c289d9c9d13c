"""Known densities as tables, over which the defaults for tables are chosen; layer 2, imported by `datasets` alone."""

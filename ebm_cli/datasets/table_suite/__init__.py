"""Known densities as tables, over which the defaults for files and tables are chosen; layer 2, imported by `datasets`."""

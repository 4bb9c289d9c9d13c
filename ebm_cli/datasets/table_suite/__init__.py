"""The table suite: known densities that look like tables, over which the defaults for files and tables are chosen;
layer 2, imported by `datasets` alone. The rule is in docs/development/table_suite.md."""

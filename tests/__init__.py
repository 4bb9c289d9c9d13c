"""Tests, mirroring the package: the tests of ebm_cli/samplers/mala.py are in tests/samplers/."""

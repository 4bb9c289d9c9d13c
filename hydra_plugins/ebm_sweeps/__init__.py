"""Plugins of Hydra, in the only namespace from which it takes launchers and sweepers.

Every program with Hydra in this environment imports these modules: they hold nothing but the classes, and import what
does the work when a sweep starts.
"""

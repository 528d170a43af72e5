"""The .flow grammar, as package data: read it with `importlib.resources`."""

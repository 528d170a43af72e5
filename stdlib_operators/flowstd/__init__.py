"""The standard library of operators: each module is an interface `NAME.flow` beside its `NAME.py`."""

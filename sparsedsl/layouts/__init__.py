"""Layouts as data: a relation, a value position and properties; all else follows from them."""

"""Metadata: rows, definitions, task types, the JSON Schema, YAML, variables, validation.

Purely data-manipulative: texts and rows in, definitions and problems out. No I/O lives here, no
clock, no SDK call; files are read by the caller.
"""

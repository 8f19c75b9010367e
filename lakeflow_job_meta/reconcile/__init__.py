"""Reconcile: desired against applied and actual: diff, rules, plan, safety, render, apply.

`diff`, `rules`, `plan`, `safety` and `render` are pure: values in, values out. Only `apply` does I/O,
through ports, and it never reads to decide.
"""

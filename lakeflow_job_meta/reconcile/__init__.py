"""Reconcile: desired against applied and actual: diff, rules, plan, safety, render, apply; and the way back, `transcription`.

`diff`, `rules`, `plan`, `safety`, `render` and `transcription` are pure: values in, values out. Only `apply` does I/O,
through ports, and it never reads to decide.
"""

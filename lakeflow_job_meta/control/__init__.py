"""Control: the control table and its companions as typed stores, and which files own which rows.

Knows SQL and the tables' columns, over the Tables port, and reads metadata files over the Volumes port
(`reading`); `loading` and `changes` are pure. Decides nothing about jobs. No adapter, no SDK, no REST call.
"""

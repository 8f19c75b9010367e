"""Control: the control table and its companions as typed stores over the Tables port.

Knows SQL and the tables' columns; decides nothing about jobs. No adapter, no SDK, no REST call.
"""

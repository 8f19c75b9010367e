"""Statements that the gateway answers itself, by what they speak of.

What lives here: for each family of statements the reading of its text and the doing of it, through
the registry, the Delta log or a rewritten statement that Sail understands. What may not live here:
gRPC, and knowledge of the client's protocol beyond `Statement.forward`.
"""

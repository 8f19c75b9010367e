"""Jobs: a module's definition becomes JobSettings in the wire's shape.

Pure: definitions and settings in, `DesiredJob` out. No I/O, no SDK call, no clock.
"""

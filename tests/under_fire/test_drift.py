"""Being written right now by a second person (N1b): leave this file alone, work on faults, kills, writers."""

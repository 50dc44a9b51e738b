"""Many processes as one, and what survives a kill.

``team`` gathers processes, ``heartbeat`` notices a lost one, ``sharding`` wraps what they train, ``state`` names what
was learned, ``checkpoints`` writes and reads it.
"""

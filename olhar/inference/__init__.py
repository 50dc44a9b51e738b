"""Loading a checkpoint and talking with it: one question, many at once for evaluation, a chat of several turns."""

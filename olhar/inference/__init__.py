"""Loading a checkpoint and asking it: in batches for evaluation, token by token for a chat."""

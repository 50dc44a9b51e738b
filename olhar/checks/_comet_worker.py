"""Runs inside the environment that unbabel-comet is installed in, which need not know olhar: scores pairs with it.

Reads one JSON list of ``{"src", "mt"}`` a line from standard input, writes one JSON list of scores a line to standard
output. The name of the model is its only argument.
"""

import json
import os
import sys

BATCH = 16


def main(name: str) -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not stand among the answers
    import comet
    import torch

    model = comet.load_from_checkpoint(comet.download_model(name))
    for line in sys.stdin:
        gpus = min(1, torch.cuda.device_count())
        scores = model.predict(json.loads(line), batch_size=BATCH, gpus=gpus, progress_bar=False).scores
        answers.write(json.dumps([float(score) for score in scores]) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1])

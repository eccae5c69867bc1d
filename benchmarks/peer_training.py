"""Trains the peers on Census-Income, one JSON line an epoch. Run by the peers' own interpreter, not by the project's.

    python peer_training.py PEERS_DIRECTORY MODEL SEED EPOCHS

`PEERS_DIRECTORY` has `train_peers.py` and `census.py`. The peers' script trains, unchanged: what is added here is the
seed, and that the rows it scores after each epoch are those of validation and test together. `lightgbm` is trained on
the same arrays, with early stopping by validation.
"""

import functools
import json
import sys
import time

import numpy as np
from sklearn.metrics import roc_auc_score

MODELS = {"deepctr-torch": "deepctr_torch", "torch-rechub": "torch_rechub"}


def main(directory: str, model: str, seed: int, epochs: int) -> None:
    sys.path.insert(0, directory)
    import census

    train, validation, test, sizes = census.load()
    if model == "lightgbm":
        lightgbm(census, train, validation, test, seed)
    else:
        peer(model, train, validation, test, sizes, seed, epochs)


def peer(model, train, validation, test, sizes, seed, epochs) -> None:
    import deepctr_torch.models
    import torch
    import train_peers

    def report(name, epoch, rows, seconds, labels, scores):
        cut = len(validation[1])
        write(name, seed, epoch + 1, rows / seconds, (labels[:cut], scores[:cut]), (labels[cut:], scores[cut:]))

    torch.manual_seed(seed)
    # Its constructor would seed the generator by the same number whatever the seed of the run.
    deepctr_torch.models.PLE = functools.partial(deepctr_torch.models.PLE, seed=seed)
    train_peers.report = report
    both = {name: np.concatenate([validation[0][name], test[0][name]]) for name in test[0]}
    labels = np.concatenate([validation[1], test[1]])
    getattr(train_peers, MODELS[model])(train, (both, labels), sizes, epochs)


def lightgbm(census, train, validation, test, seed) -> None:
    import lightgbm

    names = [*census.CATEGORICAL, *census.NUMERIC]
    x, x_validation, x_test = (np.stack([split[0][n] for n in names], axis=1) for split in (train, validation, test))
    settings = {"objective": "binary", "metric": "auc", "learning_rate": 0.05, "num_leaves": 63, "verbosity": -1}
    settings |= {"seed": seed, "bagging_fraction": 0.8, "bagging_freq": 1, "feature_fraction": 0.6, "num_threads": 2}
    scores, start = [], time.perf_counter()
    for task in range(train[1].shape[1]):
        categorical = list(range(len(census.CATEGORICAL)))
        rows = lightgbm.Dataset(x, train[1][:, task], categorical_feature=categorical, free_raw_data=False)
        watched = rows.create_valid(x_validation, validation[1][:, task])
        stop = lightgbm.early_stopping(50, verbose=False)
        booster = lightgbm.train(settings, rows, 2000, valid_sets=[watched], callbacks=[stop])
        scores.append([booster.predict(rows) for rows in (x_validation, x_test)])
    rate = len(x) / (time.perf_counter() - start)
    by_split = (np.stack([task[split] for task in scores], axis=1) for split in (0, 1))
    write("lightgbm", seed, 1, rate, *zip((validation[1], test[1]), by_split, strict=True))


def write(model, seed, epoch, examples_per_second, validation, test) -> None:
    aucs = [
        [float(roc_auc_score(labels[:, task], scores[:, task])) for task in range(labels.shape[1])]
        for labels, scores in (validation, test)
    ]
    line = {"model": model, "seed": seed, "epoch": epoch, "validation": aucs[0], "test": aucs[1]}
    print(json.dumps({**line, "examples_per_second": round(examples_per_second)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))

"""Trains a peer's PLE on arrays with behaviour sequences, one JSON line an epoch. Run by the peers' own interpreter.

    python peer_sequences.py FOLDER MODEL EPOCHS

`FOLDER` has `columns.json` and `arrays.npz` of `benchmarks.sequence_speed`. Ids of a sequence are 1 and above, 0 is
padding; the candidate's ids are of the same tables. Sequences are pooled by their mean, as both peers pool.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

torch.set_num_threads(2)


def main(folder: Path, name: str, epochs: int) -> None:
    described = json.loads((folder / "columns.json").read_text())
    arrays = dict(np.load(folder / "arrays.npz"))
    labels = arrays.pop("labels")
    for epoch, seconds in enumerate(MODELS[name](described, arrays, labels, epochs), start=1):
        line = {"model": name, "epoch": epoch, "examples_per_second": round(len(labels) / seconds)}
        print(json.dumps(line), flush=True)


def deepctr_torch(described, arrays, labels, epochs):
    from deepctr_torch.inputs import DenseFeat, SparseFeat, VarLenSparseFeat
    from deepctr_torch.models import PLE

    model, columns = described["model"], []
    for column in described["columns"]:
        if column["table"] is None:
            columns.append(DenseFeat(column["name"], column["width"]))
            continue
        ids = SparseFeat(
            column["name"], column["rows"], embedding_dim=model["embedding"], embedding_name=column["table"]
        )
        length = column.get("length")
        columns.append(ids if length is None else VarLenSparseFeat(ids, column["width"], "mean", length))
    ple = PLE(
        columns,
        task_types=["regression" if is_ratio else "binary" for is_ratio in described["regressions"]],
        task_names=described["tasks"],
        shared_expert_num=model["shared_experts"],
        specific_expert_num=model["task_experts"],
        num_levels=model["levels"],
        expert_dnn_hidden_units=tuple(model["expert_units"]),
        gate_dnn_hidden_units=(),
        tower_dnn_hidden_units=tuple(model["tower_units"]),
        l2_reg_linear=0,
        l2_reg_embedding=0,
        device="cpu",
    )
    losses = ["mse" if is_ratio else "binary_crossentropy" for is_ratio in described["regressions"]]
    ple.compile(torch.optim.Adam(ple.parameters(), 1e-3), loss=losses, metrics=[])
    for _ in range(epochs):
        start = time.perf_counter()
        ple.fit(arrays, labels, batch_size=described["batch_size"], epochs=1, verbose=0)
        yield time.perf_counter() - start


def torch_rechub(described, arrays, labels, epochs):
    from torch_rechub.basic.features import DenseFeature, SequenceFeature, SparseFeature
    from torch_rechub.models.multi_task import PLE

    model, columns = described["model"], []
    tables: dict[str, str] = {}
    # A table is the first column's that reads it, and that has to be no sequence.
    for column in sorted(described["columns"], key=lambda column: "length" in column):
        name, table = column["name"], column["table"]
        if table is None:
            columns.append(DenseFeature(name, column["width"]))
            continue
        owner = tables.setdefault(table, name)
        ids = {"vocab_size": column["rows"], "embed_dim": model["embedding"]}
        ids["shared_with"] = None if owner == name else owner
        if "length" in column:
            columns.append(SequenceFeature(name, pooling="mean", padding_idx=0, **ids))
        else:
            columns.append(SparseFeature(name, **ids))
    ple = PLE(
        columns,
        ["regression" if is_ratio else "classification" for is_ratio in described["regressions"]],
        n_level=model["levels"],
        n_expert_specific=model["task_experts"],
        n_expert_shared=model["shared_experts"],
        expert_params={"dims": model["expert_units"]},
        tower_params_list=[{"dims": model["tower_units"]}] * len(described["tasks"]),
    )
    optimizer = torch.optim.Adam(ple.parameters(), 1e-3)
    losses = [torch.nn.MSELoss() if is_ratio else torch.nn.BCELoss() for is_ratio in described["regressions"]]
    x, y = {name: torch.tensor(values) for name, values in arrays.items()}, torch.tensor(labels)
    size = described["batch_size"]
    for _ in range(epochs):
        ple.train()
        start = time.perf_counter()
        order = torch.randperm(len(y))
        for first in range(0, len(y), size):
            rows = order[first : first + size]
            p = ple({name: values[rows] for name, values in x.items()})
            optimizer.zero_grad()
            sum(loss(p[:, k], y[rows, k]) for k, loss in enumerate(losses)).backward()
            optimizer.step()
        yield time.perf_counter() - start


MODELS = {"deepctr-torch": deepctr_torch, "torch-rechub": torch_rechub}


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))

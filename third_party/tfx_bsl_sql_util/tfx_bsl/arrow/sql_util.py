"""Lets tensorflow-data-validation 1.16 import beside tfx-bsl 1.21, which no longer has this module.

tensorflow-data-validation asks for it only when statistics are sliced by a SQL query, which Fulcrum never does.
"""


def RecordBatchSQLSliceQuery(*unused_args, **unused_kwargs):  # noqa: N802 (the name that TFDV looks up)
    raise NotImplementedError("Slicing statistics by a SQL query needs tfx-bsl 1.16.")

"""What a ranker computes in: float32, or bfloat16 where products are large; its weights are float32 in both."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf

_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
# What Linux calls the instructions of x86 and of ARM.
_CPU_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
# The first NVIDIA GPUs that have it: Ampere.
_GPU_CAPABILITY = (8, 0)


@contextmanager
def precision_scope(precision: str) -> Iterator[None]:
    """Has the layers built within compute in `float32` or `bfloat16` (Keras' policy `mixed_bfloat16`)."""
    outer = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(_POLICIES[precision])
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(outer)


def has_bfloat16(cpu_info: Path = Path("/proc/cpuinfo")) -> bool:
    """Returns whether the training devices have bfloat16 instructions; without, it is emulated and slow."""
    gpus = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    if gpus:
        return all(details.get("compute_capability", _GPU_CAPABILITY) >= _GPU_CAPABILITY for details in gpus)
    try:
        return bool(_CPU_FLAGS & set(cpu_info.read_text().split()))
    except OSError:
        # Not Linux: there is no telling, so nobody is warned.
        return True

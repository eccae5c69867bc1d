"""How the learning rates go over a training: a rise in its first steps, then a fall to 0 at its end."""

import math
from typing import Any

import tensorflow as tf

from schema.modelling import Training


class RateSchedule(tf.keras.optimizers.schedules.LearningRateSchedule):
    """`r_t = r min((t + 1) / w, 1) f((t - w) / (T - w))` in step t, from 0 on: r rises for w steps of T, then falls.

        constant: f(x) = 1        linear: f(x) = 1 - x        cosine: f(x) = (1 + cos(pi x)) / 2

    Args:
      rate: r.
      schedule: f, a value of `training.schedule`.
      warmup: w, in steps.
      steps: T, those of all epochs, whether or not training stops early.
    """

    def __init__(self, rate: float, schedule: str, warmup: int, steps: int):
        super().__init__()
        self.rate, self.schedule, self.warmup, self.steps = rate, schedule, warmup, steps

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        t = tf.cast(step, tf.float32)
        rise = tf.minimum((t + 1.0) / max(self.warmup, 1), 1.0)
        return self.rate * rise * self._fall(tf.clip_by_value((t - self.warmup) / self._steps_of_fall, 0.0, 1.0))

    @property
    def _steps_of_fall(self) -> int:
        return max(self.steps - self.warmup, 1)

    def _fall(self, share: tf.Tensor) -> tf.Tensor:
        if self.schedule == "cosine":
            return 0.5 * (1.0 + tf.cos(math.pi * share))
        return 1.0 - share if self.schedule == "linear" else tf.ones_like(share)

    def get_config(self) -> dict[str, Any]:
        return {"rate": self.rate, "schedule": self.schedule, "warmup": self.warmup, "steps": self.steps}


def rate_of(training: Training, rate: float, steps: int) -> float | RateSchedule:
    """Returns what an optimiser takes for `rate`: itself, or how it goes over so many steps of training."""
    if training.schedule == "constant" and not training.warmup:
        return rate
    return RateSchedule(rate, training.schedule, warmup_steps(training, steps), steps)


def warmup_steps(training: Training, steps: int) -> int:
    """Returns in how many of so many steps of training the rates rise."""
    return round(training.warmup * steps if training.warmup < 1 else training.warmup)

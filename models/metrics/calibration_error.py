"""The name that EvalConfigs of earlier versions hold; see `evaluation.tfma.calibration_error`."""

from evaluation.tfma.calibration_error import ExpectedCalibrationError

__all__ = ["ExpectedCalibrationError"]

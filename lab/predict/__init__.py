"""The second opinion: where a frame must go by the statements, without a look at any flow."""

from lab.predict.prediction import Prediction
from lab.predict.walk import Predictor, predict

__all__ = ["Prediction", "Predictor", "predict"]

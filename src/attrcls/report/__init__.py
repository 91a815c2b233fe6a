"""What a run directory has to tell: the page behind `attrcls report`, and the card that lies beside the model."""

from attrcls.report.modelcard import write_model_card
from attrcls.report.page import write_report

__all__ = ["write_model_card", "write_report"]

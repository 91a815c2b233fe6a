"""The page behind `attrcls report`: a run directory goes in, one self-contained HTML file comes out."""

from attrcls.report.page import write_report

__all__ = ["write_report"]

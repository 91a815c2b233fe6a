"""The embedded sample datasets: small, drawn, seeded, laid out as the real ones are, with faults whose truth is known.

They exist so that every command can be tried in a minute without a download, a licence or anybody's face.
"""

from attrcls.sample.faces import draw_faces
from attrcls.sample.fashion import draw_fashion
from attrcls.sample.folder import SampleSummary

__all__ = ["SampleSummary", "draw_faces", "draw_fashion"]

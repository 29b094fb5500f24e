"""Chapter 9: seeing."""

from ...spec import Chapter

TEXT = """
"""

CHAPTER = Chapter("seeing", TEXT, ())

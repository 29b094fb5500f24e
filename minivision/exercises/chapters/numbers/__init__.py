"""Chapter 1: numbers."""

from ...spec import Chapter

TEXT = """
"""

CHAPTER = Chapter("numbers", TEXT, ())

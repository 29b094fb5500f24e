"""Chapter 6: learning."""

from ...spec import Chapter

TEXT = """
"""

CHAPTER = Chapter("learning", TEXT, ())

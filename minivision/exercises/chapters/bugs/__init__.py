"""Chapter 7: find the bug."""

from ...spec import Chapter

TEXT = """
"""

CHAPTER = Chapter("find the bug", TEXT, ())

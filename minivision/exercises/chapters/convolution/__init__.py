"""Chapter 5: convolution."""

from ...spec import Chapter

TEXT = """
"""

CHAPTER = Chapter("convolution", TEXT, ())

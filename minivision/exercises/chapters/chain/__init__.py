"""Chapter 2: the chain rule."""

from ...spec import Chapter

TEXT = """
"""

CHAPTER = Chapter("the chain rule", TEXT, ())

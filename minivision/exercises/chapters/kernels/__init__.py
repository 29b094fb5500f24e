"""Chapter 8: kernels."""

from ...spec import Chapter

TEXT = """
"""

CHAPTER = Chapter("kernels", TEXT, ())

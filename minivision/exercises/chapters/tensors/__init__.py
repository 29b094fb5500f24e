"""Chapter 3: tensors."""

from ...spec import Chapter

TEXT = """
"""

CHAPTER = Chapter("tensors", TEXT, ())

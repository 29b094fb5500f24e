"""The course inside the engine: exercises that are checked as they are written.

    track.py      all exercises in their order; the student's face of a file, the solution, the mutants
    spec.py       what an exercise is
    chapters/     the exercises themselves: one folder per chapter, a file with text, hole and solution for each
    checks/       the ways an exercise is checked
    work.py       a student's file under examination; compare.py: two results side by side
    child.py      the process that runs it; runner.py starts that, with limits; result.py travels back
    course.py     what can be done in a student's folder; state.py: what is remembered; screen.py: what is shown
    finish.py     the finish line: the student's operations in the engine
    authors.py    the check of the track itself

A student's file needs one name of this package: `Op`.
"""

from .op import Op

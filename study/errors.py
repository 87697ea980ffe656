"""The base class of the errors of ``study/`` that a user can fix."""


class StudyError(Exception):
    """Something that the user can fix: one line with what is wrong, what is expected, and the fix.

    The command line prints it and ends with exit code 2. ``analysis/`` and ``trainables/``,
    which import nothing of ``study/``, have AnalysisError and TrainableError.
    """

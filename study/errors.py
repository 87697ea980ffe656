"""The base of all errors of ``study`` that the user can mend."""


class StudyError(Exception):
    """What the user can mend: one line with what is wrong, what was expected, and the fix.

    The command line ends with it and exit code 2. ``analysis`` and ``trainables``, which import nothing of ``study``,
    have a base of their own: AnalysisError and TrainableError.
    """

"""The course report: its numbers, claims, Table I and figures. The only room of ``analysis`` that knows digits.

``analysis.report`` takes all of it from ``chapters``.
"""

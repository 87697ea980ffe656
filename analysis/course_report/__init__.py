"""The course report: its numbers, claims, Table I and figures. Only this room knows digits."""

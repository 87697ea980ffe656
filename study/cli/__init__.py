"""What a person types and reads: options, help, tables and JSON. Nothing is decided here."""

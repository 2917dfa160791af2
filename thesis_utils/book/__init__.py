"""The furniture of the book: tables, figures, claims and verdict, beside the thesis' own numbers."""

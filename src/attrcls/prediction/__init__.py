"""Prediction: an input of any shape to rows, models to probabilities, both to the table that was promised."""

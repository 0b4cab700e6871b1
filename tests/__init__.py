"""The tests mirror the package; `support/` holds what several of them share."""

"""Whole models as graphs, one module a family."""

"""A plan as a picture: one HTML file that needs nothing else, with what changes in it.

The file reads without scripts; they add a filter and show figures and reasons beside the pointer.
"""

from compiler.views.report.page import MARKER, report_html

__all__ = ["MARKER", "report_html"]

"""Plan, Diff and Diagnostics as text, markdown and JSON; views decide nothing."""

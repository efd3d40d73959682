"""The frozen records that passes exchange: validated, without input or output of their own."""

"""The numbers of the report: measured, published and compared, without words or colours."""

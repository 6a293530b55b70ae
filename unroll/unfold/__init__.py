"""A template and lengths make a DAG; which steps exist at given lengths."""

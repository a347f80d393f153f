"""Networks: their structure, their results, their summaries and drawings."""

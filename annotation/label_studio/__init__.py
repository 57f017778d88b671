"""Queues in Label Studio: labelling configurations, tasks out, annotations back."""

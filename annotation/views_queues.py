"""Queues as a lead sees them: settings, progress, tasks, and who holds what."""

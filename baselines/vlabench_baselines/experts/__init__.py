"""Scripted experts that see what no robot sees. They mark what a task allows, not what is good."""

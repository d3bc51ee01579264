"""Supervised fine-tuning: behaviour cloning of demonstrations."""

"""What users set: its checks, gin files, and what a mistake is told."""

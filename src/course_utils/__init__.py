"""What the chapters of the course share: one module, one idea.

Nothing is imported here, so that a NumPy chapter never loads PyTorch.
"""

"""Settings: their declarations, presets, files, and the resolution of a run's config. No TensorFlow, no argparse.

Anyone may import it; it imports only `common`.
"""

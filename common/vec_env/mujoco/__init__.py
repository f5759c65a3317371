"""Gymnasium's MuJoCo tasks without Python around the physics.

MuJoCo steps K simulations, and observations, rewards and ends are computed for all of them at once. They are
bit-identical to those of the environments.
"""

"""Proximal policy optimization: answers written and scored, advantages, the clipped objective, a trainer."""

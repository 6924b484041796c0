"""The main job and the example programs: kayrx at work on a real model and on real files."""

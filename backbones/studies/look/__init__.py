"""Where encoders with a text side read a finding, and how well that meets its outline: `python -m
backbones.studies.look`."""

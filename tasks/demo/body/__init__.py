"""What is rendered: anatomy, findings, devices."""

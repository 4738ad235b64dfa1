"""Studies over several methods: the ablation, and where encoders look. Declares nothing."""

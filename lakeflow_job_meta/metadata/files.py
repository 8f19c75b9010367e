"""Files: one YAML file becomes rows of the control table, and problems for what cannot."""
